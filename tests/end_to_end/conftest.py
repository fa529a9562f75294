"""Runs of the whole pipeline on the stack, shared by the tests that look at what came out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.airflow import POLL, Airflow
from local.demo import run_demo
from local.stack import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at the pipeline before other tests train, promote and spoil what is there."""
    own = [index for index, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    in_order = sorted((items[index] for index in own), key=lambda item: item.path.name != "test_pipeline.py")
    for index, item in zip(own, in_order, strict=True):
        items[index] = item


@dataclass(frozen=True)
class Pipeline:
    """One run of the pipeline: the run's id of each, what each said of its asset, what the demo printed."""

    runs: dict[str, str]
    said: dict[str, dict[str, Any]]
    printed: str


def run_pipeline(stack: Stack, airflow: Airflow) -> Pipeline:
    console = Console(record=True, width=200, quiet=False, file=(stack.settings.logs / "demo.log").open("a"))
    runs = run_demo(stack.settings, console)
    said = {dag_id: airflow.events(dag_id, run_id)[-1]["extra"] for dag_id, run_id in runs.items()}
    return Pipeline(runs, said, console.export_text())


def task_of(airflow: Airflow, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    return next(task for task in airflow.tasks(dag_id, run_id) if task["task_id"] == task_id)


def wait_for_task(airflow: Airflow, dag_id: str, run_id: str, task_id: str, state: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while (now := task_of(airflow, dag_id, run_id, task_id)["state"]) != state:
        assert time.monotonic() < deadline, f"{task_id} is {now} after {timeout} s, not {state}"
        time.sleep(POLL)


def places_with(stack: Stack, secret: str) -> list[str]:
    """Return which files of the stack's services hold a secret: logs, Airflow's database, objects such as XComs."""
    home = stack.settings.home
    files = [
        *(home / "airflow").rglob("*.log"),
        *stack.settings.logs.glob("*"),
        *(home / "airflow").glob("airflow.db*"),
    ]
    files += [path for path in (home / "s3").rglob("*") if path.is_file()]
    return [str(file) for file in files if secret.encode() in file.read_bytes()]


@contextmanager
def stopped(stack: Stack, name: str) -> Iterator[None]:
    stack.stop_program(name)
    try:
        yield
    finally:
        stack.start([name])


@contextmanager
def paused(airflow: Airflow, dag_id: str) -> Iterator[None]:
    """Let a DAG start no runs; what would set it off meanwhile is forgotten."""
    airflow.send("PATCH", f"dags/{dag_id}", {"is_paused": True})
    try:
        yield
    finally:
        airflow.send("PATCH", f"dags/{dag_id}", {"is_paused": False})


@pytest.fixture(scope="session")
def first(stack: Stack, services: dict[str, str], airflow: Airflow) -> Pipeline:
    """The pipeline on an empty stack."""
    return run_pipeline(stack, airflow)


@pytest.fixture(scope="session")
def second(stack: Stack, airflow: Airflow, first: Pipeline) -> Pipeline:
    """The pipeline once more."""
    return run_pipeline(stack, airflow)


@pytest.fixture
def possum_csv(stack: Stack) -> Iterator[Path]:
    """The table that the stack's ``feature_eng`` reads; put back after the test."""
    file = stack.settings.project / "include" / "possum.csv"
    content = file.read_bytes()
    yield file
    file.write_bytes(content)
