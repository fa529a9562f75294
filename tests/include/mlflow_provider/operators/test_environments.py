import os
import subprocess
import sys
from queue import Queue
from threading import Thread

import pytest

from include.mlflow_provider.operators._environment import GIGABYTE, Environments

PATIENCE = 60  # seconds
SIZE = 1000  # bytes of an environment made by `build`
# Holds the environment `shared`: prints each step, and waits for a line before the next.
TASK = """
import logging, sys
from pathlib import Path
from include.mlflow_provider.operators import _environment

_environment.log.info = lambda text, *values: print(text % values, flush=True)

def build(folder, lock):
    (folder / "bin").mkdir(parents=True)
    print("building", flush=True)
    sys.stdin.readline()
    (folder / "bin" / "python").touch()

with _environment.Environments(Path(sys.argv[1]), 1).use("shared", build) as (folder, lock):
    print("using", flush=True)
    sys.stdin.readline()
"""


class Tasks:
    """Processes that hold the environment ``shared``, each until it gets a line."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.printed = Queue()
        self.heard = []

    def start(self):
        command = [sys.executable, "-c", TASK, str(self.folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        Thread(target=lambda: [self.printed.put((process, line)) for line in process.stdout], daemon=True).start()
        return process

    def wait_for(self, text, process=None):
        """Return the process that says so next, or wait until this one does."""
        while True:
            speaker, line = self.printed.get(timeout=PATIENCE)
            self.heard.append(line)
            if text in line and process in (None, speaker):
                return speaker

    def go_on(self, process):
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.fixture
def tasks(tmp_path):
    tasks = Tasks(tmp_path)
    yield tasks
    for process in tasks.processes:
        process.kill()
        process.wait()


@pytest.fixture
def environments(tmp_path):
    """At most three of them."""
    return Environments(tmp_path, 3 * SIZE / GIGABYTE)


def build(folder, lock):
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_bytes(bytes(SIZE))


def build_and_fail(folder, lock):
    build(folder, lock)
    raise ValueError("no such package")


def use(environments, *keys):
    for key in keys:
        with environments.use(key, build):
            pass


def names(environments):
    return {folder.name.removeprefix("model-") for folder in environments.folder.glob("model-*/")}


def date_back(environments, *keys):
    """Make these the environments that were used last, in this order, a day ago."""
    for second, key in enumerate(keys):
        os.utime(environments.folder / f"model-{key}" / "complete.json", (second, second))


def test_an_environment_is_built_once(environments):
    with environments.use("a", build) as (folder, _):
        assert (folder / "bin" / "python").exists()
    with environments.use("a", build_and_fail) as (again, _):
        assert again == folder


def test_a_build_that_fails_leaves_nothing(environments):
    with pytest.raises(ValueError, match="no such package"), environments.use("a", build_and_fail):
        pass
    assert not names(environments)


def test_of_tasks_that_start_at_once_one_builds_and_all_use_what_it_built(tasks):
    started = {tasks.start() for _ in range(4)}
    tasks.go_on(tasks.wait_for("building"))
    assert {tasks.wait_for("using") for _ in started} == started
    assert tasks.heard.count("building\n") == 1


def test_what_a_killed_task_began_to_build_is_built_again(tasks):
    first = tasks.start()
    tasks.wait_for("building", first)
    second = tasks.start()
    tasks.wait_for("Waiting for another task's work", second)
    first.kill()
    tasks.wait_for("is incomplete and is built again", second)
    tasks.wait_for("building", second)
    tasks.go_on(second)
    tasks.wait_for("using", second)


def test_an_environment_whose_interpreter_is_gone_is_built_again(environments):
    with environments.use("a", build) as (folder, _):
        (folder / "bin" / "python").unlink()
    with environments.use("a", build):
        assert (folder / "bin" / "python").exists()


def test_the_least_recently_used_makes_room_and_a_use_counts_without_a_build(environments):
    use(environments, "a", "b", "c")
    date_back(environments, "a", "b", "c")
    use(environments, "a", "d")
    assert names(environments) == {"a", "c", "d"}


def test_what_was_never_completed_makes_room_first(environments):
    use(environments, "a", "b")
    (environments.folder / "model-cut-short" / "bin").mkdir(parents=True)
    use(environments, "c")
    assert names(environments) == {"a", "b", "c"}


def test_an_environment_that_another_task_builds_or_uses_stays_and_counts(tasks):
    environments = Environments(tasks.folder, SIZE / GIGABYTE)
    task = tasks.start()
    tasks.wait_for("building")
    use(environments, "a")
    assert names(environments) == {"shared", "a"}
    tasks.go_on(task)
    tasks.wait_for("using")
    date_back(environments, "shared", "a")
    use(environments, "b")
    assert names(environments) == {"shared", "b"}
    task.kill()
    task.wait()
    use(environments, "c")
    assert names(environments) == {"c"}


def test_what_others_keep_in_the_folder_stays(tmp_path):
    (tmp_path / "venv-1234" / "bin").mkdir(parents=True)
    use(Environments(tmp_path, 0), "a", "b")
    assert {path.name for path in tmp_path.glob("*/")} == {"venv-1234", "model-b"}
