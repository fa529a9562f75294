"""Starting, checking and stopping a local stack."""

import io
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import psycopg2
import pytest

from local import __main__ as command_line
from local.stack import SERVICES, Stack, StackError
from tests.sandbox import find_missing_postgres

from .conftest import kill_supervisor

S3 = SERVICES["s3"]
RENAMED = (
    "import setproctitle, time; setproctitle.setproctitle('airflow worker -- idle ' * 100); print(1); time.sleep(60)"
)


def test_a_started_service_is_ready_and_a_stopped_one_leaves_no_process(own_stack: Stack) -> None:
    ready = []
    own_stack.start(["s3"], on_ready=lambda service, seconds: ready.append(service))
    processes = list(own_stack.processes())
    assert ready == [S3]
    assert own_stack.is_ready(S3)
    assert len(processes) == 2
    folder = own_stack.settings.socket.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    own_stack.stop()
    assert not any(process.is_running() for process in processes)
    assert not own_stack.is_running(S3)
    assert not folder.exists()


def test_a_process_has_the_secrets_of_its_program_only(stack: Stack) -> None:
    secrets = {value: name for name, value in stack.settings.secrets().items()}
    known: dict[str, set[str]] = {}
    for process in stack.processes():
        command, variables = " ".join(process.cmdline()), "\n".join(process.environ().values())
        program = next((name for name in ("supervisord", "rclone", "mlflow") if name in command), "")
        known.setdefault(program, set()).update(name for value, name in secrets.items() if value in variables)
    assert known["supervisord"] == set()
    assert known["rclone"] == {"S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_S3_ACCESS_KEY", "MLFLOW_S3_SECRET_KEY"}
    assert known["mlflow"] == {
        *("MLFLOW_S3_ACCESS_KEY", "MLFLOW_S3_SECRET_KEY"),
        *("MLFLOW_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
    }


def test_starting_a_running_service_changes_nothing(own_stack: Stack) -> None:
    own_stack.start(["s3"])
    before = {process.pid for process in own_stack.processes()}
    own_stack.start(["s3"])
    assert {process.pid for process in own_stack.processes()} == before


def test_a_process_that_gave_itself_another_name_is_ended_too(own_stack: Stack) -> None:
    command = [sys.executable, "-u", "-c", RENAMED]
    with subprocess.Popen(command, env=own_stack.settings.base_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert [found.pid for found in own_stack.processes()] == [process.pid]
        own_stack.stop()
        assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize("taken", ["by another user", "open to others", "a link"])
def test_a_folder_of_the_socket_that_is_not_private_is_refused(
    own_stack: Stack, tmp_path: Path, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if taken == "by another user":
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    folder = own_stack.settings.socket.parent
    if taken == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "theirs")
    else:
        folder.mkdir(mode=0o755 if taken == "open to others" else 0o700)

    with pytest.raises(PermissionError, match="not a folder of this user alone"):
        own_stack.start(["s3"])
    assert not list(own_stack.processes())


def test_programs_write_to_a_folder_that_the_next_start_empties(own_stack: Stack) -> None:
    own_stack.start(["s3"])
    (process,) = (process for process in own_stack.processes() if process.name() == "rclone")
    folder = Path(process.environ()["TMPDIR"])
    (folder / "left").write_text("by a killed task")
    kill_supervisor(own_stack)
    own_stack.start(["s3"])
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.iterdir()) == []
    own_stack.stop()
    assert not folder.exists()


def test_a_program_that_was_killed_starts_without_the_children_that_it_left(own_stack: Stack) -> None:
    own_stack.start(["s3", "mlflow"])
    killed = psutil.Process(int(own_stack.info("mlflow")["pid"]))
    children = killed.children(recursive=True)
    others = [process for process in own_stack.processes() if process not in (killed, *children)]
    killed.kill()
    assert children
    assert psutil.wait_procs(children, timeout=30)[1] == []
    own_stack.start(["mlflow"])
    assert all(process.is_running() for process in others)


def test_a_taken_port_is_an_error_before_anything_starts(own_stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own_stack.settings.ports["MLFLOW_PORT"]))
        taken.listen()
        port = own_stack.settings.ports["MLFLOW_PORT"]
        with pytest.raises(StackError, match=rf"Port {port} \(MLflow\) .* make up MLFLOW_PORT={port + 1000}"):
            own_stack.start(["s3", "mlflow"])
    assert not list(own_stack.processes())


def test_another_server_on_the_port_does_not_pass_for_the_service(
    own_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "_check_port", lambda *_: None)  # the other server started after the check
    with ThreadingHTTPServer(("127.0.0.1", own_stack.settings.ports["S3_PORT"]), SimpleHTTPRequestHandler) as other:
        Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(StackError, match=r"S3 does not start: (?s:.*)s3\.log"):
            own_stack.start(["s3"])
        other.shutdown()
    assert "address already in use" in (own_stack.settings.logs / "s3.log").read_text()


def test_an_unknown_service_is_an_error(own_stack: Stack) -> None:
    with pytest.raises(StackError, match=r"there is no service 'minio': choose from s3, mlflow, airflow, serve"):
        own_stack.start(["minio"])


def test_a_service_that_cannot_start_is_an_error_with_the_reason(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr("sys.prefix", str(empty))  # an environment without rclone
    monkeypatch.setenv("PATH", f"{empty}{os.pathsep}/usr/bin")
    with pytest.raises(StackError, match=r"S3 does not start: .*No such file or directory: .*rclone"):
        own_stack.start(["s3"])


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    addresses = {
        connection.laddr.ip
        for process in stack.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_clean_asks_before_it_deletes(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    own_stack.start(["s3"])
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert command_line.clean(own_stack, []) == 1
    assert own_stack.is_ready(S3)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert command_line.clean(own_stack, []) == 0
    assert list(own_stack.settings.home.iterdir()) == []
    assert not list(own_stack.processes())


def test_status_prints_state_and_address_of_each_service(own_stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    own_stack.start(["s3"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "console", command_line.Console(highlight=False, width=200))
        command_line.status(own_stack, [])
    printed = capsys.readouterr().out
    assert f"is ready at {own_stack.settings.url('s3')}" in printed
    assert printed.count("is not running") == 4
    assert "is not running (make serve)" in printed


def test_a_running_stack_keeps_its_ports(own_stack: Stack) -> None:
    own_stack.start(["s3"])
    moved = replace(own_stack.settings, ports=own_stack.settings.ports | {"S3_PORT": 9999})
    with pytest.raises(StackError, match="the stack already runs with other options: run make down"):
        Stack(moved).start(["s3"])


def test_the_model_server_starts_only_when_it_is_named(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(own_stack, "start", lambda names, on_ready: started.extend(names))
    command_line.up(own_stack, [])
    assert started == ["s3", "mlflow", "airflow"]


def test_trace_needs_the_uri_of_one_file(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "_connect", lambda settings: None)
    for names in ([], ["predictions.csv"], ["s3://a/b.csv", "s3://a/c.csv"]):
        with pytest.raises(StackError, match="give one file of predictions: make trace FILE=s3://"):
            command_line.trace(own_stack, names)


def test_a_missing_program_is_an_error_that_says_how_to_install_it(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    celery = Stack(replace(own_stack.settings, executor="celery"))
    with pytest.raises(StackError, match=r"Redis is not installed\. .*apt-get install postgresql redis-server"):
        celery.start(["airflow"])
    assert not list(celery.processes())


def test_postgresql_that_cannot_start_is_an_error_with_the_reason(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("unshare", "initdb", "postgres"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StackError, match=r"PostgreSQL does not start: Operation not permitted\n"):
        Stack(replace(own_stack.settings, database="postgresql")).start(["airflow"])


@pytest.mark.skipif(
    bool(missing := find_missing_postgres()) or not shutil.which("redis-server"), reason=missing or "needs Redis"
)
def test_celerys_workers_start_with_postgresql_and_redis(own_stack: Stack) -> None:
    stack = Stack(replace(own_stack.settings, executor="celery", database="postgresql", workers=2))
    stack.start(["airflow"])
    with closing(psycopg2.connect(stack.settings.database_url.replace("+psycopg2", ""))) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM dag_bundle")
        assert cursor.fetchone() == (1,)
    commands = [" ".join(process.cmdline()) for process in stack.processes()]
    assert [f"worker-{n}" for n in range(3) if any(f"--celery-hostname worker-{n}" in c for c in commands)] == [
        "worker-0",
        "worker-1",
    ]
