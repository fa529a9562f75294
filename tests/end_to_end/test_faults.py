"""The pipeline with bad tables and failing services."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from include.problem import PROBLEM
from include.settings import AWS_CONN_ID, MLFLOW_CONN_ID
from local.demo import DemoError, run_demo
from local.stack import SERVICES, Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import (
    Pipeline,
    paused,
    read_raw,
    spoil,
    stopped,
    task_of,
    wait_for_task,
    write_raw,
)
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def without_training(airflow: Airflow, first: Pipeline) -> Iterator[None]:
    """The DAGs after ``feature_eng`` do not matter here, and would take the time of two tests."""
    with paused(airflow, "train"):
        yield


def test_the_demo_names_the_failed_task_its_error_and_its_log(
    stack: Stack, airflow: Airflow, first: Pipeline, table_file: Path
) -> None:
    spoiled, reasons = spoil(read_raw())
    write_raw(spoiled, table_file)
    with pytest.raises(DemoError) as failure:
        run_demo(stack.settings, Console(quiet=True))
    message = str(failure.value)
    assert f"feature_eng.check_data failed: AirflowFailException: {PROBLEM.table} cannot be used" in message
    assert [reason for reason in reasons if f"row 2, {reason}" not in message] == []
    log = Path(message.split("log: ")[1].splitlines()[0])
    assert reasons[-1] in log.read_text()


@pytest.mark.parametrize(
    ("name", "task_id", "connection"),
    [
        ("mlflow", "prepare_mlflow_experiment.list_existing_experiments", MLFLOW_CONN_ID),
        ("s3", "create_buckets_if_not_exists", AWS_CONN_ID),
    ],
)
def test_a_service_that_is_down_is_named_and_the_run_continues_when_it_is_back(
    name: str, task_id: str, connection: str, stack: Stack, airflow: Airflow, first: Pipeline
) -> None:
    with stopped(stack, name):
        run_id = airflow.trigger("feature_eng")
        wait_for_task(airflow, "feature_eng", run_id, task_id, "up_for_retry", timeout=60)
        log = airflow.log("feature_eng", run_id, task_of(airflow, "feature_eng", run_id, task_id))
    assert connection in log
    assert f"127.0.0.1:{stack.settings.ports[SERVICES[name].port]}" in log.replace("', port=", ":")
    assert airflow.wait("feature_eng", run_id) == "success"


def test_a_run_ends_with_success_after_airflow_was_killed_during_a_task(
    stack: Stack, airflow: Airflow, first: Pipeline
) -> None:
    run_id = airflow.trigger("feature_eng")
    wait_for_task(airflow, "feature_eng", run_id, "build_features", "running", timeout=120)
    for process in list(stack.processes()):
        with_airflow = any("airflow" in part for part in process.cmdline()[:2])
        if with_airflow and "supervisord" not in " ".join(process.cmdline()):
            process.send_signal(signal.SIGKILL)
    stack.start(["airflow"])
    assert airflow.wait("feature_eng", run_id, timeout=180) == "success"


def test_a_service_that_crashes_is_restarted(stack: Stack, services: dict[str, str]) -> None:
    before = {process.pid for process in stack.processes() if "rclone" in process.name()}
    assert len(before) == 1
    psutil.Process(before.pop()).kill()
    wait_until(lambda: stack.is_ready(SERVICES["s3"]), timeout=30)
