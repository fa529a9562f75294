"""The champion: the version that predicts, which versions were champion before, and who decided so.

The registry is the only record: the alias names the present champion, and each promotion adds a tag
``champion.<time>`` to the version, so that nothing is lost when a version becomes champion again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.problem import PROBLEM
from include.settings import MLFLOW_CONN_ID

MODEL = PROBLEM.registered_model
CHALLENGER_ALIAS, CHAMPION_ALIAS = "challenger", "champion"
TAG = "champion."
REJECTED = "not_promoted_because"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # UTC; sorts as text
MAX_REASON = 1000  # characters; MLflow rejects a tag of more than 5000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChampionPeriod:
    """A time during which a version was champion; times are ISO 8601 in UTC, ``until`` is empty while it lasts."""

    version: str
    since: str
    until: str
    by: str
    why: str


def connect() -> MLflowClientHook:
    """Return a hook for MLflow's REST API."""
    return MLflowClientHook(mlflow_conn_id=MLFLOW_CONN_ID)


def model_uri(version: str) -> str:
    """Return the URI from which a version is loaded."""
    return f"models:/{MODEL}/{version}"


def read_tags(entity: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a version, or of a run's ``data``, as a dictionary."""
    return {tag["key"]: tag["value"] for tag in entity.get("tags", [])}


def read_params(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a run as a dictionary."""
    return {param["key"]: param["value"] for param in run["data"].get("params", [])}


def champion() -> str:
    """Return the version that is champion, or an empty string."""
    # Not by the alias: MLflow answers 403, not 404, to non-admins when it is missing.
    model = connect().get_registered_model(MODEL) or {}
    aliases = {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}
    return str(aliases.get(CHAMPION_ALIAS, ""))


def find_champion() -> dict[str, Any] | None:
    """Return the version that is champion as MLflow describes it, or None."""
    version = champion()
    return connect().get_model_version(MODEL, version) if version else None


def serving_version(fallback: str | None = None) -> dict[str, str]:
    """Return the version that predicts now: the champion, or the newest version as long as there is none.

    :param fallback: the version to use in place of the newest
    :return: ``version``, ``run_id``, ``uri`` (``models:/<name>/<version>``) and ``alias``: ``champion``, or empty
    :raises LookupError: the model has no version
    """
    found = find_champion()
    version = found or _fallback_version(fallback)
    if found:
        log.info("Version %s predicts: it is the champion", version["version"])
    else:
        log.warning(
            "NO CHAMPION YET: version %s of %s predicts, although it has not passed the gate", version["version"], MODEL
        )
    return {
        "version": version["version"],
        "run_id": version.get("run_id", ""),
        "uri": model_uri(version["version"]),
        "alias": CHAMPION_ALIAS if found else "",
    }


def promote(version: str, *, by: str, why: str) -> None:
    """Make a version the champion and record who did it and why; repeating it changes nothing.

    An alias that was moved by hand is set right, and that is recorded.

    :param by: the person, or what decided instead
    :raises MLflowAPIError: there is no such version; nothing has changed
    """
    hook, past, now = connect(), history(), champion()
    record = (version, by, why[:MAX_REASON])
    last = (past[-1].version, past[-1].by, past[-1].why) if past else None
    if last != record and not (last and now == last[0] == version):
        _record(hook, *record)
    if now != version:
        hook.set_registered_model_alias(MODEL, CHAMPION_ALIAS, version)
    hook.delete_model_version_tag(MODEL, version, REJECTED)


def reject(version: str, *, why: str) -> None:
    """Record at a version why it was not promoted; the champion stays.

    :raises MLflowAPIError: there is no such version
    """
    connect().set_model_version_tag(MODEL, version, REJECTED, why[:MAX_REASON])


def history() -> list[ChampionPeriod]:
    """Return every period of a champion, oldest first; those of deleted versions are missing."""
    starts = sorted(
        (name.removeprefix(TAG), str(version["version"]), json.loads(value))
        for version in connect().search_model_versions(_filter())
        for name, value in read_tags(version).items()
        if name.startswith(TAG)
    )
    ends = [*(since for since, *_ in starts[1:]), ""]
    return [
        ChampionPeriod(version, since, until, **decision)
        for (since, version, decision), until in zip(starts, ends, strict=False)
    ]


def previous() -> str:
    """Return the version that a rollback goes to: the champion before the present one.

    A champion that was rolled back does not count: after 1, 2, 3 and back to 2, the next rollback goes to 1.

    :raises LookupError: there is no champion, or none before it
    """
    standing: list[str] = []
    for period in history():
        position = standing.index(period.version) if period.version in standing else len(standing)
        standing = [*standing[:position], period.version]
    now = champion()
    before = standing[: standing.index(now)] if now in standing else standing
    if not now or not before:
        raise LookupError(
            f"{MODEL} has no champion before {f'version {now}' if now else 'the first'}: "
            "name the version to go back to, or run promote first"
        )
    return before[-1]


def _filter() -> str:
    quote = '"' if "'" in MODEL else "'"  # MLflow has no escape
    return f"name={quote}{MODEL}{quote}"


def _record(hook: MLflowClientHook, version: str, by: str, why: str) -> None:
    now = datetime.now(UTC).strftime(TIME)
    tags = {"promoted_at": now, "promoted_by": by, "promotion_reason": why}
    for key, value in (tags | {f"{TAG}{now}": json.dumps({"by": by, "why": why})}).items():
        hook.set_model_version_tag(MODEL, version, key, value)


def _fallback_version(version: str | None) -> dict[str, Any]:
    hook = connect()
    if version:
        return hook.get_model_version(MODEL, version)
    versions = hook.search_model_versions(_filter())
    newest = max(versions, key=lambda found: int(found["version"]), default=None)
    if newest is None:
        raise LookupError(f"{MODEL} has no version yet: trigger feature_eng, which trains one")
    return newest
