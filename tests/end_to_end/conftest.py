"""The pipeline on the stack, run once or twice for all tests, and rows like those of the project's table."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.problem import PROBLEM
from include.services import champions
from include.services.champions import CHAMPION_ALIAS, MODEL
from include.settings import INCLUDE
from include.spec import Number
from local.airflow import Airflow
from local.demo import run_demo
from local.stack import Stack
from tests.waiting import wait_until

TABLE = INCLUDE.parent / PROBLEM.table
TARGET = PROBLEM.target.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at the pipeline's results before other tests train and promote more versions."""
    own = [index for index, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    in_order = sorted((items[index] for index in own), key=lambda item: item.path.name != "test_pipeline.py")
    for index, item in zip(own, in_order, strict=True):
        items[index] = item


@dataclass(frozen=True)
class Pipeline:
    """One run of the pipeline: the run of each DAG, the ``extra`` of its asset event, the output of the demo."""

    runs: dict[str, str]
    events: dict[str, dict[str, Any]]
    printed: str


def run_pipeline(stack: Stack, airflow: Airflow) -> Pipeline:
    console = Console(record=True, width=200, quiet=False, file=(stack.settings.logs / "demo.log").open("a"))
    runs = run_demo(stack.settings, console)
    events = {dag_id: airflow.events(dag_id, run_id)[0]["extra"] for dag_id, run_id in runs.items()}
    return Pipeline(runs, events, console.export_text())


def read_raw() -> pd.DataFrame:
    """Return the project's table as it is in the file."""
    return parse_rows(TABLE.read_bytes(), PROBLEM.table)


def read_rows() -> pd.DataFrame:
    """Return the rows of the project's table, checked and repaired, in their types."""
    return inspect(read_raw(), PROBLEM).table


def new_rows(count: int, seed: int = 0) -> pd.DataFrame:
    """Return rows like those of the table, with a target, but with other ids and slightly other inputs."""
    rng, column = np.random.default_rng(seed), finest_number()
    known = read_rows().dropna(subset=TARGET)
    rows = known.iloc[rng.integers(len(known), size=count)].reset_index(drop=True)
    rows[column] *= 1 - rng.uniform(0, 1e-4, count)
    if PROBLEM.row_id:
        rows[PROBLEM.row_id] = [f"new {seed}-{number}" for number in range(1, count + 1)]
    return rows


def finest_number() -> str:
    """Return the numeric feature with the most values."""
    return str(read_rows()[PROBLEM.numbers].nunique().idxmax())


def without_target(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns=TARGET)


def write_raw(rows: pd.DataFrame, file: Path) -> None:
    """Write rows in the format of the file's name, every cell as text."""
    rows.to_csv(file, index=False) if file.suffix == ".csv" else rows.astype(str).to_parquet(file)


def spoil(rows: pd.DataFrame, columns: Sequence[str] = PROBLEM.inputs) -> tuple[pd.DataFrame, list[str]]:
    """Return rows with an error in each of these columns of the first row, and how the errors are reported.

    A category that may have new levels stays as it is.
    """
    spoiled, reasons = rows.astype(object), []
    for column in map(PROBLEM.column, columns):
        reason = "is not a number" if isinstance(column, Number) else f"is not one of {', '.join(column.levels)}"
        if isinstance(column, Number) or (column.levels and column.new_levels == "error"):
            spoiled.loc[rows.index[0], column.name] = "x"
            reasons.append(f"column {column.name}: x {reason}")
    return spoiled, reasons


def task_of(airflow: Airflow, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    return next(task for task in airflow.tasks(dag_id, run_id) if task["task_id"] == task_id)


def states_of(airflow: Airflow, dag_id: str, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in airflow.tasks(dag_id, run_id)}


def wait_for_success(airflow: Airflow, dag_id: str, run_id: str) -> dict[str, str]:
    """Wait for a run's end and return the state of each task; the errors of tasks are the message if it failed."""
    state = airflow.wait(dag_id, run_id)
    failed = [task for task in airflow.tasks(dag_id, run_id) if task["state"] == "failed"]
    assert state == "success", {task["task_id"]: airflow.error(dag_id, run_id, task) for task in failed}
    return states_of(airflow, dag_id, run_id)


def wait_for_task(airflow: Airflow, dag_id: str, run_id: str, task_id: str, state: str, timeout: float) -> None:
    wait_until(
        lambda: task_of(airflow, dag_id, run_id, task_id)["state"] == state,
        timeout,
        lambda: f"{task_id} is {task_of(airflow, dag_id, run_id, task_id)['state']}, not {state}",
    )


def places_with(stack: Stack, secret: str) -> list[str]:
    """Return the files of the stack's services that contain a secret: logs, Airflow's database, objects and XComs."""
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
    """Pause a DAG; the events that would have triggered it are lost."""
    airflow.send("PATCH", f"dags/{dag_id}", {"is_paused": True})
    try:
        yield
    finally:
        airflow.send("PATCH", f"dags/{dag_id}", {"is_paused": False})


@contextmanager
def champion_is(version: str) -> Iterator[None]:
    """Make a version the champion without a record of it, and restore what was there."""
    hook, before = champions.connect(), champions.champion()
    hook.set_registered_model_alias(MODEL, CHAMPION_ALIAS, version)
    try:
        yield
    finally:
        if before:
            hook.set_registered_model_alias(MODEL, CHAMPION_ALIAS, before)
        else:
            hook.delete_registered_model_alias(MODEL, CHAMPION_ALIAS)


@contextmanager
def dag_file(stack: Stack, airflow: Airflow, code: str, *dag_ids: str) -> Iterator[None]:
    """Put a file into the stack's DAG folder and wait until Airflow knows its DAGs; the file is deleted at the end."""
    file = stack.settings.project / "dags" / f"{dag_ids[0]}.py"
    file.write_text(code)
    try:
        airflow.wait_for_dags([*dag_ids])
        yield
    finally:
        file.unlink()


@pytest.fixture(scope="session")
def first(stack: Stack, services: dict[str, str], airflow: Airflow) -> Pipeline:
    """The pipeline on an empty stack."""
    return run_pipeline(stack, airflow)


@pytest.fixture(scope="session")
def second(stack: Stack, airflow: Airflow, first: Pipeline) -> Pipeline:
    """The pipeline once more."""
    return run_pipeline(stack, airflow)


@pytest.fixture
def table_file(stack: Stack) -> Iterator[Path]:
    """The table that the stack's ``feature_eng`` reads; restored after the test."""
    file = stack.settings.project / PROBLEM.table
    content = file.read_bytes()
    yield file
    file.write_bytes(content)
