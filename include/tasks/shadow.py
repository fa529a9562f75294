"""The task of ``monitor`` that compares the challenger in the champion's shadow with the champion, on measured rows."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import alerts, champions
from include.tasks import served
from include.tasks.served import CHALLENGER, CHALLENGER_PREDICTED, VERSION

SUMMARY = (
    "{verdict}: on {rows} served rows its RMSE is {ratio:.2f} times that of version {champion} "
    "({low:.2f} to {high:.2f}, look {look})"
)

log = logging.getLogger(__name__)


def compare_shadow(champion: Mapping[str, str], run_id: str) -> dict[str, Any]:
    """Compare the version that waits with the champion, record the result at the version, and alert of a verdict.

    The alert is sent before it is recorded that it was, so that it is sent again if this fails in between.

    :return: as :func:`include.evaluation.sequential.compare` returns it, with a ``summary``, and whether it was
        ``alerted``
    :raises AirflowSkipException: no version waits, there is a verdict already, or there are too few new rows for a look
    """
    from include.evaluation.sequential import UNDECIDED

    waiting = champions.waiting()
    if not waiting:
        raise AirflowSkipException("no version waits for a verdict")
    version = waiting[0]["version"]
    compared = champions.read_shadow(waiting[0], champion["version"])
    if compared.get("alerted"):
        raise AirflowSkipException(f"version {version} was compared: {compared['summary']}")
    if compared.get("verdict", UNDECIDED) == UNDECIDED:
        compared = _look(champion["version"], waiting[0], compared.get("look", 0))
        champions.record_shadow(version, champion["version"], compared)
        log.info("Version %s is %s", version, compared["summary"])
    if compared["verdict"] != UNDECIDED:
        facts = {"DAG": "monitor", "run": run_id, "comparison": compared["summary"]}
        subject = f"{champions.MODEL} version {version} is {compared['verdict']} than the champion"
        alerts.send(alerts.Alert(subject, facts, alerts.run_url("monitor", run_id)))
        compared |= {"alerted": True}
        champions.record_shadow(version, champion["version"], compared)
    return compared


def _look(champion: str, challenger: Mapping[str, Any], looked: int) -> dict[str, Any]:
    """Compare two versions on the rows that both predicted and whose target was measured.

    :param challenger: as MLflow describes it
    :param looked: number of the last look
    :raises AirflowSkipException: there are too few new rows
    """
    from include.evaluation.sequential import FIRST, compare, count_looks

    version = challenger["version"]
    rows = served.read_measured(datetime.fromtimestamp(int(challenger["creation_timestamp"]) / 1000, UTC))
    both = rows[(rows[VERSION] == champion) & (rows[CHALLENGER] == version)].dropna()
    if count_looks(len(both)) <= looked:
        raise AirflowSkipException(
            f"version {version} has predicted {len(both)} measured rows beside version {champion}, "
            f"{FIRST << looked} are needed for the next look"
        )
    challenger_errors, champion_errors = (both["target"] - both[name] for name in (CHALLENGER_PREDICTED, "predicted"))
    compared = compare(challenger_errors, champion_errors, PROBLEM.gate.confidence)
    return compared | {"summary": SUMMARY.format(champion=champion, **compared), "alerted": False}
