"""The champion: the version that others predict with, who it was before, and who decided so.

The registry alone keeps this: the alias says who is champion now, and each time that a version becomes
champion adds a tag ``champion.<time>`` to it, so that nothing is lost when a version comes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include import config
from include.config import CHAMPION_ALIAS

if TYPE_CHECKING:
    from include.mlflow_provider.hooks.client import MLflowClientHook

TAG = "champion."
REFUSED = "not_promoted_because"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # UTC; sorts as text
REASON_LENGTH = 1000  # characters; MLflow refuses a tag of more than 5000


@dataclass(frozen=True)
class Reign:
    """One time that a version was champion; times are ISO 8601 in UTC, ``until`` is empty while it lasts."""

    version: str
    since: str
    until: str
    by: str
    why: str


def model_uri(version: str) -> str:
    """Return the URI by which a version is loaded."""
    return f"models:/{config.REGISTERED_MODEL}/{version}"


def champion(hook: MLflowClientHook) -> str:
    """Return the version that is champion now, or nothing if there is none."""
    # Not by the alias, because MLflow forbids whoever is no administrator to ask for what is not there.
    model = hook.get_registered_model(config.REGISTERED_MODEL) or {}
    aliases = {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}
    return str(aliases.get(CHAMPION_ALIAS, ""))


def find_champion(hook: MLflowClientHook) -> dict[str, Any] | None:
    """Return the version that is champion now, as MLflow tells it, or None if there is none."""
    version = champion(hook)
    return hook.get_model_version(config.REGISTERED_MODEL, version) if version else None


def read_tags(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a version, or of a run's ``data``, as MLflow tells it."""
    return {tag["key"]: tag["value"] for tag in told.get("tags", [])}


def promote(hook: MLflowClientHook, version: str, *, by: str, why: str) -> None:
    """Make a version the champion, and write down who did it and why.

    Done twice, it changes nothing: neither if the first time was completed nor if it broke off in between. An alias
    that somebody moved by hand is set right, and that is written down.

    :param by: the person, or what decided in a person's place
    :raises MLflowAPIError: there is no such version; nothing has changed
    """
    past, now = history(hook), champion(hook)
    said = (version, by, why[:REASON_LENGTH])
    last = (past[-1].version, past[-1].by, past[-1].why) if past else None
    if last != said and not (last and now == last[0] == version):
        _write_down(hook, *said)
    if now != version:
        hook.set_registered_model_alias(config.REGISTERED_MODEL, CHAMPION_ALIAS, version)
    hook.delete_model_version_tag(config.REGISTERED_MODEL, version, REFUSED)


def refuse(hook: MLflowClientHook, version: str, *, why: str) -> None:
    """Write down at a version why it did not become champion; the champion stays.

    :raises MLflowAPIError: there is no such version
    """
    hook.set_model_version_tag(config.REGISTERED_MODEL, version, REFUSED, why[:REASON_LENGTH])


def history(hook: MLflowClientHook) -> list[Reign]:
    """Return every time that a version became champion, oldest first; deleted versions are gone from it."""
    starts = sorted(
        (tag["key"].removeprefix(TAG), str(version["version"]), json.loads(tag["value"]))
        for version in hook.search_model_versions(f"name='{config.REGISTERED_MODEL}'")
        for tag in version.get("tags", [])
        if tag["key"].startswith(TAG)
    )
    ends = [*(since for since, *_ in starts[1:]), ""]
    return [Reign(version, since, until, **said) for (since, version, said), until in zip(starts, ends, strict=False)]


def previous(hook: MLflowClientHook) -> str:
    """Return the version that a rollback goes to: the champion before the present one.

    A champion that was rolled back does not count: after 1, 2, 3 and back to 2, the next step back is 1.

    :raises LookupError: there is no champion, or none before it
    """
    standing: list[str] = []
    for reign in history(hook):
        position = standing.index(reign.version) if reign.version in standing else len(standing)
        standing = [*standing[:position], reign.version]
    now = champion(hook)
    before = standing[: standing.index(now)] if now in standing else standing
    if not now or not before:
        raise LookupError(
            f"{config.REGISTERED_MODEL} has no champion before {f'version {now}' if now else 'none'}: "
            "name the version to go back to, or let promote make a champion first"
        )
    return before[-1]


def _write_down(hook: MLflowClientHook, version: str, by: str, why: str) -> None:
    now = datetime.now(UTC).strftime(TIME)
    tags = {"promoted_at": now, "promoted_by": by, "promotion_reason": why}
    for key, value in (tags | {f"{TAG}{now}": json.dumps({"by": by, "why": why})}).items():
        hook.set_model_version_tag(config.REGISTERED_MODEL, version, key, value)
