"""Processes and sockets of a stack, where others are or remain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local.stack import Stack

RENAMED = (
    "import setproctitle, time; setproctitle.setproctitle('airflow worker -- idle ' * 100); print(1); time.sleep(60)"
)


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


def test_stopping_removes_the_socket_and_its_folder(own_stack: Stack) -> None:
    own_stack.start(["s3"])
    folder = own_stack.settings.socket.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    own_stack.stop()
    assert not folder.exists()


def test_programs_write_to_a_folder_that_the_next_start_empties(own_stack: Stack) -> None:
    own_stack.start(["s3"])
    (process,) = (process for process in own_stack.processes() if process.name() == "rclone")
    folder = Path(process.environ()["TMPDIR"])
    (folder / "left").write_text("by a killed task")
    supervisor = own_stack._supervisor_process()
    assert supervisor
    supervisor.kill()
    psutil.wait_procs([supervisor], timeout=10)
    own_stack.start(["s3"])
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.iterdir()) == []
    own_stack.stop()
    assert not folder.exists()


def test_a_program_that_was_killed_starts_without_the_children_that_it_left(own_stack: Stack) -> None:
    own_stack.start(["s3", "mlflow"])
    killed = psutil.Process(int(own_stack._info("mlflow")["pid"]))
    children = killed.children(recursive=True)
    others = [process for process in own_stack.processes() if process not in (killed, *children)]
    killed.kill()
    assert children
    assert psutil.wait_procs(children, timeout=30)[1] == []
    own_stack.start(["mlflow"])
    assert all(process.is_running() for process in others)
