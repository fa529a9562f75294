"""Heavy tasks of several DAGs at the same time in a running Airflow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from include.settings import HEAVY_TASKS
from local.airflow import Airflow
from local.stack import Stack
from tests.end_to_end.conftest import dag_file, wait_for_success
from tests.waiting import wait_until

DAGS = ["heavy_first", "heavy_second", "light"]
DAG = """
import time
from pathlib import Path

from airflow.sdk import dag, task

from include.services.dag_defaults import HEAVY

FOLDER = Path("{folder}")


def hold(dag_run, number):
    (FOLDER / f"{{dag_run.dag_id}}-{{number}}").touch()
    while not (FOLDER / "release").exists():
        time.sleep(0.1)


def heavy():
    task(**HEAVY)(hold).expand(number=list(range({count})))


def light():
    task(task_id="pass")(lambda: None)()


for name, wire in {{"heavy_first": heavy, "heavy_second": heavy, "light": light}}.items():
    dag(dag_id=name, schedule=None)(wire)()
"""


@pytest.fixture
def folder(stack: Stack, buckets: None, airflow: Airflow, tmp_path: Path) -> Iterator[Path]:
    """Where heavy tasks note that they have started, and wait for ``release``."""
    with dag_file(stack, airflow, DAG.format(folder=tmp_path, count=HEAVY_TASKS + 1), *DAGS):
        yield tmp_path
        (tmp_path / "release").touch()


def start(airflow: Airflow, folder: Path, dag_id: str, count: int) -> str:
    """Start a run, and wait until so many of its heavy tasks have started."""
    run_id = airflow.trigger(dag_id)
    wait_until(
        lambda: len(list(folder.glob(f"{dag_id}-*"))) >= count,
        120,
        lambda: [task["state"] for task in airflow.tasks(dag_id, run_id)],
    )
    return run_id


def test_a_heavy_run_leaves_slots_for_a_second_one_and_for_light_tasks(airflow: Airflow, folder: Path) -> None:
    first = start(airflow, folder, "heavy_first", HEAVY_TASKS)
    second = start(airflow, folder, "heavy_second", 1)
    wait_for_success(airflow, "light", airflow.trigger("light"))

    assert len(list(folder.glob("heavy_*"))) == HEAVY_TASKS + 1
    (folder / "release").touch()
    wait_for_success(airflow, "heavy_first", first)
    wait_for_success(airflow, "heavy_second", second)
