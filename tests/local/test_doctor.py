"""What ``make doctor`` finds on stacks that were broken for real."""

import io
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.problem import PROBLEM
from local import __main__ as command_line
from local import doctor
from local.doctor import Finding, examine
from local.settings import temporary
from local.stack import Stack
from tests.sandbox import find_missing

from .conftest import kill_supervisor, s3


@pytest.fixture
def stopped(own_stack: Stack) -> Stack:
    own_stack.settings.create_folders()
    return own_stack


def errors(stack: Stack, now: datetime | None = None) -> list[Finding]:
    return [found for found in examine(stack, now) if found.is_error]


def remedies(stack: Stack, now: datetime | None = None) -> dict[str, str]:
    return {found.subject: found.state for found in examine(stack, now) if found.remedy}


def test_a_stack_that_runs_has_no_errors(running: Stack) -> None:
    found = {one.subject: one for one in examine(running)}

    assert errors(running) == []
    assert found["MLflow"].state.startswith("answers")
    assert found["login of airflow in MLflow"].state == found["keys of S3"].state.replace("work", "works") == "works"
    assert found["database mlflow/mlflow.db"].state == "ok"


def test_a_stack_that_does_not_run_has_no_errors(stopped: Stack) -> None:
    assert errors(stopped) == []
    assert remedies(stopped)["S3"] == "is not running"


def test_a_taken_port_is_found_with_its_holder(stopped: Stack) -> None:
    port = stopped.settings.ports["MLFLOW_PORT"]
    with socket.create_server(("127.0.0.1", port)):
        (found,) = errors(stopped)

    assert found.subject == "MLflow"
    assert f"process {psutil.Process().pid}" in found.state
    assert f"make up MLFLOW_PORT={port + 1000}" in found.remedy


def test_a_missing_environment_is_found(stopped: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENVIRONMENTS", tmp_path)

    assert [found.remedy for found in errors(stopped)] == ["make setup", "make setup"]


def test_missing_secrets_are_found_and_not_created(stopped: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "console", command_line.Console(file=io.StringIO()))
    (stopped.settings.home / "secrets.env").unlink()
    assert command_line.doctor(stopped, []) == 0
    (stopped.settings.home / "mlflow" / "mlflow.db").touch()
    assert command_line.doctor(stopped, []) == 1
    assert not (stopped.settings.home / "secrets.env").exists()


def test_a_daily_housekeeping_that_failed_is_found(stopped: Stack) -> None:
    log = stopped.settings.logs / "housekeeping.log"
    log.write_text("Airflow: 3 rows of dag_run\nlocal.stack.StackError: airflow db clean failed\n")
    assert remedies(stopped)["housekeeping"] == "local.stack.StackError: airflow db clean failed"
    log.write_text("lineage: 0 events\nMLflow: 0 runs and models removed\n")
    assert "housekeeping" not in remedies(stopped)


def test_a_broken_database_is_found(stopped: Stack) -> None:
    (stopped.settings.home / "mlflow" / "mlflow.db").write_text("not a database" * 1000)
    (found,) = errors(stopped)

    assert found.state == "cannot be checked: file is not a database"


def test_processes_that_outlived_their_supervisor_are_found(stopped: Stack) -> None:
    stopped.start(["s3"])
    kill_supervisor(stopped)

    assert {found.remedy for found in errors(stopped) if found.subject == "processes"} == {"make down"}


def test_a_service_that_hangs_is_found(running: Stack) -> None:
    rclone = next(process for process in running.processes() if process.name() == "rclone")
    rclone.send_signal(signal.SIGSTOP)
    try:
        assert "S3" in [found.subject for found in errors(running)]
    finally:
        rclone.send_signal(signal.SIGCONT)


def test_a_login_that_mlflow_refuses_is_found(running: Stack) -> None:
    file = running.settings.home / "secrets.env"
    before = file.read_text()
    try:
        password = running.settings.secrets()["AIRFLOW_MLFLOW_PASSWORD"]
        file.write_text(before.replace(password, "another password"))
        found = [one for one in errors(running) if one.subject == "login of airflow in MLflow"]
    finally:
        file.write_text(before)

    assert [one.state for one in found] == ["refused"]


def test_a_clock_that_differs_is_found(running: Stack) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=10)

    assert {"clock of S3", "clock of MLflow"} <= {found.subject for found in errors(running, ahead)}


@pytest.mark.skipif(bool(missing := find_missing()), reason=missing)
def test_postgresql_redis_and_missing_workers_are_found(tmp_path: Path) -> None:
    stack = Stack(temporary(tmp_path, executor="celery", database="postgresql"))
    try:
        stack._start_supervisor()
        for program in ("postgres", "redis"):
            stack._start_program(program)
        stack._wait_for_database()
        found = {one.subject: (one.state, one.is_error) for one in examine(stack)}
    finally:
        stack.stop()

    assert found["PostgreSQL"] == ("answers", False)
    assert found["Redis"] == ("answers, 0 tasks wait", False)
    assert found["Celery workers"] == ("0 of 2 answer", True)


def test_files_that_wait_or_were_rejected_are_found(running: Stack) -> None:
    for key in ("incoming/late.csv", "rejected/bad.csv", "rejected/bad.csv.reason.txt"):
        s3(running).put_object(Bucket="data", Key=key, Body=b"x")
    found = remedies(running, datetime.now(UTC) + timedelta(hours=2))

    assert found["s3://data/incoming"] == "1 files wait, such as s3://data/incoming/late.csv"
    assert found["s3://data/rejected"] == "1 files in a week"
    assert "s3://data/incoming" not in remedies(running)


def test_a_run_that_a_killed_task_left_open_is_found(running: Stack) -> None:
    hook = MLflowClientHook()
    run = hook.create_run(hook.create_experiment(PROBLEM.experiment, exist_ok=True), run_name="Tuning")
    later = datetime.now(UTC) + timedelta(hours=2)

    assert remedies(running, later)["MLflow run Tuning"] == f"{run['info']['run_id']} is still RUNNING"
    assert "MLflow run Tuning" not in remedies(running)


def test_the_command_prints_the_remedy_and_fails_on_an_error(
    stopped: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "console", command_line.Console(width=200))
    monkeypatch.setattr(command_line, "_connect", lambda _: None)
    assert command_line.doctor(stopped, []) == 0
    (stopped.settings.home / "secrets.env").chmod(0o644)
    assert command_line.doctor(stopped, []) == 1
    assert "chmod 600" in capsys.readouterr().out
