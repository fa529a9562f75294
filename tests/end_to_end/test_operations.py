"""Housekeeping on the running stack: the DAG, and what it cannot reach."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.problem import PROBLEM
from include.settings import RETENTION
from local.housekeeping import clean, find_waiting
from local.stack import Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import paused, task_of
from tests.waiting import wait_until

LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@pytest.fixture(scope="module")
def dry_run(airflow: Airflow, buckets: None) -> str:
    """A finished run of the DAG that only lists."""
    MLflowClientHook().create_experiment(PROBLEM.experiment, exist_ok=True)
    airflow.wait_for_dags(["housekeeping"])
    run_id = airflow.trigger("housekeeping", {"dry_run": True})
    assert airflow.wait("housekeeping", run_id) == "success"
    return run_id


@pytest.fixture
def queued(airflow: Airflow, dry_run: str) -> Iterator[str]:
    """A run that does not start, because its DAG is paused."""
    with paused(airflow, "housekeeping"):
        run_id = airflow.trigger("housekeeping", {"dry_run": True})
        yield run_id
        airflow.send("DELETE", f"dags/housekeeping/dagRuns/{run_id}")


def test_the_dag_lists_every_kind(airflow: Airflow, dry_run: str) -> None:
    log = airflow.log("housekeeping", dry_run, task_of(airflow, "housekeeping", dry_run, "report"))

    assert "would be deleted" in log
    assert all(kind in log for kind in RETENTION)


def test_a_dag_with_a_run_that_has_not_ended_is_left_alone(stack: Stack, queued: str) -> None:
    assert find_waiting(stack.settings, datetime.now(UTC) + timedelta(days=1)) == ["housekeeping"]
    assert find_waiting(stack.settings, LONG_AGO) == []


def test_old_runs_and_logs_are_deleted_and_others_stay(stack: Stack, airflow: Airflow, dry_run: str) -> None:
    young = airflow.trigger("housekeeping", {"dry_run": True})
    assert airflow.wait("housekeeping", young) == "success"
    logs = stack.settings.home / "airflow" / "logs" / "dag_id=housekeeping"
    for file in (logs / f"run_id={dry_run}").rglob("*.log"):
        os.utime(file, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    with closing(sqlite3.connect(stack.settings.home / "airflow" / "airflow.db", timeout=30)) as database, database:
        for table in ("dag_run", "task_instance"):
            statement = f"UPDATE {table} SET start_date = ? WHERE run_id = ?"  # noqa: S608
            database.execute(statement, (LONG_AGO.strftime("%Y-%m-%d %H:%M:%S.%f"), dry_run))
    list(clean(stack.settings, datetime.now(UTC), dry_run=True))
    assert airflow.run("housekeeping", dry_run)["state"] == "success"
    list(clean(stack.settings, datetime.now(UTC)))

    with pytest.raises(httpx.HTTPStatusError, match="404"):
        airflow.run("housekeeping", dry_run)
    assert airflow.run("housekeeping", young)["state"] == "success"
    assert not (logs / f"run_id={dry_run}").exists()
    assert (logs / f"run_id={young}").exists()


def test_the_state_of_pipeline_and_airflow_is_published(stack: Stack, airflow: Airflow, dry_run: str) -> None:
    def read() -> dict[str, float]:
        """Return each sample by its name and its last label."""
        families = text_string_to_metric_families(httpx.get(f"{stack.settings.url('metrics')}/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return {" ".join([sample.name, *list(sample.labels.values())[-1:]]): sample.value for sample in samples}

    stack.start(["metrics"])
    try:
        wanted = {"pipeline_measured_seconds", "airflow_scheduler_heartbeat_total"}
        wait_until(lambda: wanted <= read().keys(), 120, lambda: f"not measured: {list(read())}")
        found = read()
    finally:
        stack.stop_program("metrics")

    assert found["airflow_healthy scheduler"] == found["airflow_healthy triggerer"] == 1
    assert "airflow_runs failed" in found
    assert found["pipeline_files_waiting"] == 0
    assert not [name for name in found if name.startswith("pipeline_findings") and name.endswith("error")]
