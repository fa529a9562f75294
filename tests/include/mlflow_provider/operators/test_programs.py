import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from threading import Thread

import psutil
import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import TimeoutPosix

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._subprocess import Programs, without_logins

from .processes import PATIENCE, alive, family, wait_for_end, wait_until

# Prints the numbers of itself and of a child that ignores SIGTERM, then both run on.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("family", os.getpid(), child.pid, flush=True)
{end}
"""
ENDLESS = FAMILY.format(end="time.sleep(600)")


@pytest.fixture
def lines(caplog):
    """What programs have printed up to now."""
    caplog.set_level(logging.INFO)
    return lambda: caplog.messages


def python(code):
    return [sys.executable, "-c", code]


def family_in(lines):
    return wait_until(lambda: family("\n".join(line for line in lines() if line.startswith("family"))))


@contextmanager
def run_aside(programs, *arguments):
    """Run a program while the block runs, then kill it."""
    failures = []

    def run():
        with pytest.raises(MLflowError) as failure:
            programs.run(*arguments)
        failures.append(str(failure.value))

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        programs.kill()
        thread.join()
    assert "killed with the task" in failures[0]


def test_every_line_is_logged_and_the_status_returned(lines):
    code = "import sys; print('one'); sys.stdout.flush(); sys.stderr.buffer.write(b'tw\\xff\\n'); sys.exit(3)"
    assert Programs().run(python(code), {}) == 3
    assert lines()[-2:] == ["one", "tw\ufffd"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("from https://me:w@rd@host:8080/simple?a=1", "from https://***@host:8080/simple?a=1"),
        ("a @ git+https://t0ken@host/a.git@main", "a @ git+https://***@host/a.git@main"),
        ("https://host/a@1 s3://bucket/a me@host", "https://host/a@1 s3://bucket/a me@host"),
    ],
)
def test_a_login_in_a_url_is_in_no_line_of_the_log(lines, text, shown):
    assert without_logins(text) == shown
    Programs().run(python(f"print('printed', {text!r})"), {})
    assert shown in lines()[0]
    assert lines()[1] == f"printed {shown}"


def test_a_program_gets_the_variables_and_no_others(lines):
    Programs().run(python("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}))"), {"MINE": "1"})
    assert lines()[-1] == "['MINE']"


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        Programs().run(["no-such-program"], {})


def test_a_signal_shows_in_the_status():
    assert Programs().run(python("import os; os.kill(os.getpid(), 11)"), {}) == -signal.SIGSEGV


def test_what_a_program_leaves_behind_is_killed_and_not_waited_for(lines):
    started = time.monotonic()
    assert Programs().run(python(FAMILY.format(end="")), dict(os.environ)) == 0
    assert time.monotonic() - started < PATIENCE
    wait_for_end(family_in(lines))


def test_kill_ends_a_program_and_its_children_and_lets_no_other_start(lines):
    programs = Programs()
    with run_aside(programs, python(ENDLESS), dict(os.environ)):
        numbers = family_in(lines)
        assert len(alive(numbers)) == 2
    wait_for_end(numbers)
    with pytest.raises(MLflowError, match="killed with the task"):
        programs.run(python("import time; time.sleep(600)"), {})


def test_a_timeout_of_the_task_is_not_held_up(lines):
    with pytest.raises(AirflowTaskTimeout), TimeoutPosix(1):
        Programs().run(python(ENDLESS), dict(os.environ))
    wait_for_end(family_in(lines))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_survives_the_task_however_it_ends(how):
    shown = "_subprocess.log.info = lambda *values: print(*values, flush=True)"
    imports = f"import os, sys; from include.mlflow_provider.operators import _subprocess; {shown}"
    run = f"_subprocess.Programs().run([sys.executable, '-c', {ENDLESS!r}], dict(os.environ))"
    with subprocess.Popen(python(f"{imports}; {run}"), stdout=subprocess.PIPE, text=True) as task:
        numbers = next(filter(None, map(family, task.stdout)))
        assert len(alive(numbers)) == 2
        task.send_signal(how)
    assert task.returncode == -how
    wait_for_end(numbers)


def test_a_lock_is_held_as_long_as_the_program_runs(tmp_path, lines):
    programs = Programs()
    with (tmp_path / "lock").open("a") as mine, (tmp_path / "lock").open("a") as other:
        fcntl.flock(mine, fcntl.LOCK_EX)
        with run_aside(programs, python(ENDLESS), {}, [mine.fileno()]):
            family_in(lines)
            mine.close()
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_no_process_is_left_for_others_to_wait_for():
    before = set(psutil.Process().children())
    Programs().run(python("pass"), {})
    assert set(psutil.Process().children()) == before
