"""The task of ``monitor`` that compares the challenger in the champion's shadow with the champion, on measured rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import alerts, champions
from include.spec import LOGGED
from include.tasks import served

PREDICTION_ID, _, VERSION, CHALLENGER, CHALLENGER_PREDICTED = LOGGED

SUMMARY = (
    "{verdict}: on {rows} served rows its RMSE is {ratio:.2f} times that of version {champion} "
    "({low:.2f} to {high:.2f}, look {look})"
)

log = logging.getLogger(__name__)


def compare_shadow(champion: Mapping[str, str], run_id: str) -> dict[str, Any]:
    """Compare the version that waits with the champion, record the result at the version, and alert of a verdict.

    :return: as :func:`include.evaluation.sequential.compare` returns it, with the ``champion`` and a ``summary``
    :raises AirflowSkipException: no version waits, there is a verdict already, or there are too few new rows for a look
    """
    from include.evaluation.sequential import FIRST, UNDECIDED, compare, count_looks

    waiting = champions.waiting()
    if not waiting:
        raise AirflowSkipException("no version waits for a verdict")
    version = waiting[0]["version"]
    before = champions.read_shadow(waiting[0])
    looked = before["look"] if before.get("champion") == champion["version"] else 0
    if looked and before["verdict"] != UNDECIDED:
        raise AirflowSkipException(f"version {version} was compared: {before['summary']}")
    errors = _measure_errors(champion["version"], waiting[0])
    if count_looks(len(errors)) <= looked:
        raise AirflowSkipException(
            f"version {version} has predicted {len(errors)} measured rows beside version {champion['version']}, "
            f"{FIRST << looked} are needed for the next look"
        )
    compared = compare(errors["challenger"], errors["champion"], PROBLEM.gate.confidence)
    compared["champion"] = champion["version"]
    compared["summary"] = SUMMARY.format(**compared)
    champions.connect().set_model_version_tag(champions.MODEL, version, champions.SHADOW, json.dumps(compared))
    log.info("Version %s is %s", version, compared["summary"])
    if compared["verdict"] != UNDECIDED:
        facts = {"DAG": "monitor", "run": run_id, "comparison": compared["summary"]}
        subject = f"{champions.MODEL} version {version} is {compared['verdict']} than the champion"
        alerts.send(alerts.Alert(subject, facts, alerts.run_url("monitor", run_id)))
    return compared


def _measure_errors(champion: str, challenger: Mapping[str, Any]) -> Any:
    """Return the errors of both versions on the rows that both predicted and whose target was measured.

    :param challenger: as MLflow describes it
    """
    since = datetime.fromtimestamp(int(challenger["creation_timestamp"]) / 1000, UTC)
    targets = served.read_targets(since)
    rows = served.find(set(targets.index), ["predicted", VERSION, CHALLENGER, CHALLENGER_PREDICTED], since)
    both = rows[(rows[VERSION] == champion) & (rows[CHALLENGER] == challenger["version"])]
    both = both.drop_duplicates(PREDICTION_ID).dropna()
    target = both[PREDICTION_ID].map(targets).astype(float)  # else text, if there are none
    return both.assign(champion=target - both["predicted"], challenger=target - both[CHALLENGER_PREDICTED])
