"""The champion: the version that predicts, the earlier champions, and who decided so.

The registry is the only record: the alias names the present champion, and each promotion adds a tag
``champion.<time>`` to the version, so that nothing is lost when a version becomes champion again. A version that was
rolled back has the tag ``on_hold``, and is not promoted until a person deletes the tag.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.problem import PROBLEM
from include.services import storage
from include.settings import MLFLOW_CONN_ID

MODEL = PROBLEM.registered_model
CHALLENGER_ALIAS, CHAMPION_ALIAS = "challenger", "champion"
TAG = "champion."
FEATURES_URI = "features_uri"  # the table that train made the version from
DAG_RUN_ID = "airflow.dag_run_id"  # the run of train that made the version
PROMOTED, REJECTED, ON_HOLD = "promoted_at", "not_promoted_because", "on_hold"
SHADOW = "shadow."  # tag prefix, followed by a champion: JSON, the comparison with it on served rows
EVALUATION = "evaluation"  # JSON: the result of promote, and the slice of the holdout
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # UTC; sorts as text
MAX_REASON = 1000  # characters; MLflow rejects a tag of more than 5000

log = logging.getLogger(__name__)


class ChampionChangedError(RuntimeError):
    """The champion changed after a decision was made; the message names both versions."""


class OtherInputsError(AirflowFailException):
    """A version cannot predict rows as ``include/problem.py`` describes them; the message names the columns."""


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


def versions() -> list[dict[str, Any]]:
    """Return every version as MLflow describes it, without aliases, oldest first."""
    quote = '"' if "'" in MODEL else "'"  # MLflow has no escape
    found = connect().search_model_versions(f"name={quote}{MODEL}{quote}")
    return sorted(found, key=lambda version: int(version["version"]))


def describe(version: Mapping[str, Any]) -> dict[str, str]:
    """Return the ``version``, ``run_id`` and ``features_uri`` of a version that was made by ``train``."""
    tags = read_tags(version)
    return {"version": version["version"], "run_id": version["run_id"], FEATURES_URI: tags[FEATURES_URI]}


def find_features(version: Mapping[str, Any]) -> str:
    """Return the URI of the feature table that a version was trained from; empty if it is gone."""
    uri = read_tags(version).get(FEATURES_URI, "")
    return uri if uri and storage.exists(uri) else ""


def has_verdict(version: Mapping[str, Any]) -> bool:
    """Return whether a version was judged: it was promoted, or the reason why not is recorded."""
    return not {PROMOTED, REJECTED}.isdisjoint(read_tags(version))


def read_shadow(version: Mapping[str, Any], champion: str) -> dict[str, Any]:
    """Return how a version did beside a champion on served rows, or nothing if they were not compared."""
    return json.loads(read_tags(version).get(f"{SHADOW}{champion}", "{}"))


def record_shadow(version: str, champion: str, compared: Mapping[str, Any]) -> None:
    """Record how a version did beside a champion; a comparison goes on where it was if that is champion again."""
    connect().set_model_version_tag(MODEL, version, f"{SHADOW}{champion}", json.dumps(compared))


def trained() -> list[dict[str, Any]]:
    """Return the versions that were made by ``train``, oldest first."""
    return [version for version in versions() if FEATURES_URI in read_tags(version)]


def waiting() -> list[dict[str, Any]]:
    """Return the versions that were made by ``train`` and have no verdict, oldest first."""
    return [version for version in trained() if not has_verdict(version)]


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
    :raises OtherInputsError: it takes other inputs than the problem has
    """
    found = find_champion()
    version = found or _fallback_version(fallback)
    number = version["version"]
    check_inputs(number)
    if found:
        log.info("Version %s predicts: it is the champion", number)
    else:
        log.warning("NO CHAMPION YET: version %s of %s predicts, although it has not passed the gate", number, MODEL)
    alias = CHAMPION_ALIAS if found else ""
    return {"version": number, "run_id": version.get("run_id", ""), "uri": model_uri(number), "alias": alias}


def check_inputs(version: str) -> None:
    """Check that a version can predict rows of the problem: it may use fewer columns, but no others.

    :raises OtherInputsError: it needs a column that the problem does not have, or has as another type
    """
    from include.services import tracking

    types = tracking.read_inputs(model_uri(version))
    taken = {name: "category" if kind == "string" else "number" for name, kind in types.items()}
    described = dict.fromkeys(PROBLEM.numbers, "number") | dict.fromkeys(PROBLEM.categories, "category")
    lacking, other = taken and _list_others(described, taken), _list_others(taken, described)
    if other:
        raise OtherInputsError(
            f"version {version} takes other inputs than include/problem.py describes (lacks: {lacking or 'none'}; has: "
            f"{other}): promote a version trained with the present description, or roll the description back"
        )
    if lacking:
        log.warning("Version %s predicts without %s, which include/problem.py describes", version, lacking)


def _list_others(columns: Mapping[str, str], than: Mapping[str, str]) -> str:
    """Return the columns that are not among others, or of another type there."""
    return ", ".join(f"{name} ({kind})" for name, kind in columns.items() if than.get(name) != kind)


def promote(version: str, *, by: str, why: str, expected: str | None = None) -> None:
    """Make a version the champion and record who did it and why; repeating it changes nothing.

    The alias moves before the record is written, so that no record is wrong: a retry after a kill in between finds the
    alias moved and completes the record. MLflow has no compare-and-set: a promotion at the very same time would be
    overwritten.

    :param by: the person, or what decided instead
    :param expected: the present champion, or an empty string; None: whichever it is
    :raises ChampionChangedError: another version than `expected` is champion; nothing has changed
    :raises MLflowAPIError: the version does not exist; nothing has changed
    """
    hook, past, now = connect(), history(), champion()
    if expected is not None and now not in (expected, version):
        raise ChampionChangedError(
            f"version {now or 'none'} is champion now, the decision was about {expected or 'none'}"
        )
    if now != version:
        hook.set_registered_model_alias(MODEL, CHAMPION_ALIAS, version)
    if now != version or not past or past[-1].version != version:
        at, why = datetime.now(UTC).strftime(TIME), why[:MAX_REASON]
        tags = {PROMOTED: at, "promoted_by": by, "promotion_reason": why}
        for key, value in (tags | {f"{TAG}{at}": json.dumps({"by": by, "why": why})}).items():
            hook.set_model_version_tag(MODEL, version, key, value)
    hook.delete_model_version_tag(MODEL, version, REJECTED)


def hold(version: str, *, why: str) -> None:
    """Put a version on hold: the gate promotes neither it nor one that predicts the same."""
    connect().set_model_version_tag(MODEL, version, ON_HOLD, why[:MAX_REASON])


def lift_hold(version: str) -> None:
    """Remove the hold from a version, if it is on hold."""
    connect().delete_model_version_tag(MODEL, version, ON_HOLD)


def reject(version: str, *, why: str) -> None:
    """Record at a version why it was not promoted; the champion stays.

    :raises MLflowAPIError: the version does not exist
    """
    connect().set_model_version_tag(MODEL, version, REJECTED, why[:MAX_REASON])


def history(found: Iterable[Mapping[str, Any]] | None = None) -> list[ChampionPeriod]:
    """Return every period of a champion, oldest first; those of deleted versions are missing.

    :param found: as :func:`versions` returns them; searched for if not given
    """
    starts = sorted(
        (name.removeprefix(TAG), str(version["version"]), json.loads(value))
        for version in (versions() if found is None else found)
        for name, value in read_tags(version).items()
        if name.startswith(TAG)
    )
    ends = [*(since for since, *_ in starts[1:]), ""]
    return [
        ChampionPeriod(version, since, until, **decision)
        for (since, version, decision), until in zip(starts, ends, strict=False)
    ]


def newest_champion() -> int:
    """Return the largest number of a version that is or was champion, 0 if none."""
    return max((int(period.version) for period in history()), default=0)


def previous() -> str:
    """Return the version that a rollback goes to: the champion before the present one.

    A champion that was rolled back does not count: after 1, 2, 3 and back to 2, the next rollback goes to 1. Nor does
    one that is on hold, or that predicts the same as the present one.

    :raises LookupError: there is no champion, or none before it
    """
    now, registered = champion(), versions()
    standing = _standing(history(registered))
    before = standing[: standing.index(now)] if now in standing else standing
    tags = {str(version["version"]): read_tags(version) for version in registered}
    found = [
        version
        for version in before
        if ON_HOLD not in tags[version] and not _predict_the_same(tags[version], tags.get(now, {}))
    ]
    if not now or not found:
        raise LookupError(
            f"{MODEL} has no champion before {f'version {now}' if now else 'the first'} that differs from it and is "
            "not on hold: name the version to go back to, or run promote first"
        )
    return found[-1]


def _standing(periods: Iterable[ChampionPeriod]) -> list[str]:
    """Return the champions without those that were rolled back, oldest first."""
    standing: list[str] = []
    for period in periods:
        position = standing.index(period.version) if period.version in standing else len(standing)
        standing = [*standing[:position], period.version]
    return standing


def _predict_the_same(*tags: Mapping[str, str]) -> bool:
    """Return whether two versions gave the same predictions on the same slice, as far as their tags say."""
    one, other = (json.loads(found.get(EVALUATION, "{}")) for found in tags)
    return bool(one) and all(one[name] == other.get(name) for name in ("slice", "predictions"))


def _fallback_version(version: str | None) -> dict[str, Any]:
    if version:
        return connect().get_model_version(MODEL, version)
    if not (found := versions()):
        raise LookupError(f"{MODEL} has no version yet: trigger feature_eng, which trains one")
    return found[-1]
