"""What the pipeline does with bad tables and failing services."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from include import config
from local.airflow import POLL, Airflow
from local.demo import DemoError, run_demo
from local.stack import SERVICES, Stack
from tests.end_to_end.conftest import Pipeline, paused, stopped, task_of, wait_for_task

ROW = "1,1,Vic,m,8.0,94.1,"
BAD_TABLES: dict[str, tuple[Callable[[str], str | None], str]] = {
    "no file": (lambda text: None, "is missing: put the possum table there"),
    "unknown sex": (lambda text: text.replace(ROW, "1,1,Vic,x,8.0,94.1,"), "row 2, column sex: x must be one of f, m"),
}


@pytest.fixture(autouse=True)
def without_training(airflow: Airflow, first: Pipeline) -> Iterator[None]:
    """What comes after ``feature_eng`` is no matter of these tests, and would take the time of two of them."""
    with paused(airflow, "train"):
        yield


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_stops_the_run_and_sets_nothing_off(
    case: str, airflow: Airflow, first: Pipeline, possum_csv: Path
) -> None:
    spoil, message = BAD_TABLES[case]
    spoiled = spoil(possum_csv.read_text())
    possum_csv.unlink() if spoiled is None else possum_csv.write_text(spoiled)
    run_id = airflow.trigger("feature_eng")
    assert airflow.wait("feature_eng", run_id) == "failed"
    (task,) = [task for task in airflow.tasks("feature_eng", run_id) if task["state"] == "failed"]
    assert task["task_id"] == ("extract_data" if case == "no file" else "check_data")
    assert task["try_number"] == 1
    log = airflow.log("feature_eng", run_id, task)
    assert message in log
    assert str(possum_csv) in log
    assert airflow.events("feature_eng", run_id) == []


def test_the_demo_names_the_failed_task_its_error_and_its_log(
    stack: Stack, airflow: Airflow, first: Pipeline, possum_csv: Path
) -> None:
    possum_csv.write_text(possum_csv.read_text().replace(ROW, "1,1,Vic,x,8.0,long,"))
    with pytest.raises(DemoError) as failure:
        run_demo(stack.settings, Console(quiet=True))
    said = str(failure.value)
    assert f"feature_eng.check_data failed: AirflowFailException: {possum_csv} cannot be used" in said
    assert "row 2, column sex: x must be one of f, m" in said
    assert "row 2, column hdlngth: long is not a number" in said
    log = Path(said.split("log: ")[1].splitlines()[0])
    assert "long is not a number" in log.read_text()


@pytest.mark.parametrize(
    ("name", "task_id", "connection"),
    [
        ("mlflow", "prepare_mlflow_experiment.list_existing_experiments", config.MLFLOW_CONN_ID),
        ("s3", "create_buckets_if_not_exists", config.AWS_CONN_ID),
    ],
)
def test_a_service_that_is_down_is_named_and_the_run_goes_on_when_it_is_back(
    name: str, task_id: str, connection: str, stack: Stack, airflow: Airflow, first: Pipeline
) -> None:
    with stopped(stack, name):
        run_id = airflow.trigger("feature_eng")
        wait_for_task(airflow, "feature_eng", run_id, task_id, "up_for_retry", timeout=60)
        log = airflow.log("feature_eng", run_id, task_of(airflow, "feature_eng", run_id, task_id))
    assert connection in log
    assert f"127.0.0.1:{stack.settings.ports[SERVICES[name].port]}" in log.replace("', port=", ":")
    assert airflow.wait("feature_eng", run_id) == "success"


def test_a_run_is_finished_though_airflow_was_killed_in_the_middle(
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


def test_a_service_that_crashes_comes_back_by_itself(stack: Stack, services: dict[str, str]) -> None:
    before = {process.pid for process in stack.processes() if "rclone" in process.name()}
    assert len(before) == 1
    psutil.Process(before.pop()).kill()
    deadline = time.monotonic() + 30
    while not stack.is_ready(SERVICES["s3"]):
        assert time.monotonic() < deadline, "S3 is not back after 30 s"
        time.sleep(POLL)
