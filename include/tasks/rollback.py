"""The tasks of ``rollback``: back to an earlier champion, after it has shown that it still predicts.

The version that is left is put on hold: the gate does not promote it again until a person deletes its tag ``on_hold``.
"""

import json
import logging
from collections.abc import Mapping
from math import isfinite
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from include.services import champions, samples, storage
from include.services.assets import MODEL_EVALUATED, object_uri
from include.services.failures import fail_if_missing, fail_without_retry

BEFORE = ". Before that: "  # what the version's description was until then
ROWS = 5  # that a version must predict before it becomes champion again

log = logging.getLogger(__name__)


def choose_version(params: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Return the version of the form, else the champion before the present one, and rows to try it with.

    :return: ``version``, ``model_uri``, and ``rows_uri``: the first rows of the table that it was trained on; and the
        ``champion`` now, or an empty string
    :raises AirflowFailException: the version does not exist, there is none to go back to, or it is the champion already
    """
    with fail_if_missing("no rollback"):
        version = params["version"] or champions.previous()
        found = champions.connect().get_model_version(champions.MODEL, version)
    version, champion = found["version"], champions.champion()
    if version == champion:
        raise AirflowFailException(f"no rollback: version {version} is the champion already, name another one")
    # Its own table, because the present one may have other columns.
    uri = champions.read_tags(found).get("features_uri", "")
    if not uri or not storage.exists(uri):
        raise AirflowFailException(f"no rollback: the table of version {version} is gone ({uri or 'no features_uri'})")
    rows_uri = storage.write_table(
        samples.read_head(uri)[0].head(ROWS), object_uri(MODEL_EVALUATED, run_id, "rows.parquet")
    )
    model_uri = champions.model_uri(version)
    return {"version": version, "model_uri": model_uri, "rows_uri": rows_uri, "champion": champion}


def move_champion(chosen: Mapping[str, Any], predicted: Any, params: Mapping[str, Any], dag_run: Any) -> str:
    """Make the version champion if its predictions are finite numbers, put the other on hold, and return the version.

    :param predicted: of the rows of :func:`choose_version`, as ``ModelLoadAndPredictOperator`` returns them
    :raises AirflowFailException: a prediction is not a finite number, or the champion has changed since; so nothing has
    """
    from include.evaluation.model_card import plain

    version, reason = chosen["version"], params["reason"]
    check_predictions(predicted, f"no rollback: version {version}")
    by = getattr(dag_run, "triggering_user_name", None) or "unknown"
    with fail_without_retry(champions.ChampionChangedError):
        champions.promote(version, by=by, why=reason, expected=chosen["champion"])
    champions.lift_hold(version)
    if chosen["champion"]:
        champions.hold(chosen["champion"], why=f"rolled back by {by}: {reason}")
    hook = champions.connect()
    before = hook.get_model_version(champions.MODEL, version).get("description", "").rpartition(BEFORE)[2]
    description = f"Champion again by {plain(by)}: {plain(reason)}{BEFORE}{before}"
    hook.update_model_version(champions.MODEL, version, description)
    log.info("Version %s is champion again, by %s: %s", version, by, reason)
    return version


def check_predictions(predicted: Any, subject: str) -> None:
    """Check that a version has predicted a finite number for each of ``ROWS`` rows.

    :param predicted: a table as JSON with the column ``prediction``, or a plain list
    :param subject: the beginning of the error
    :raises AirflowFailException: it has not
    """
    table = json.loads(predicted) if isinstance(predicted, str) else predicted
    values = list(table["prediction"].values()) if isinstance(table, dict) else list(table)
    if len(values) != ROWS or not all(isinstance(value, int | float) and isfinite(value) for value in values):
        raise AirflowFailException(f"{subject} predicts {predicted}, not {ROWS} finite numbers")
