"""Benchmark: the pipeline compared with empty DAGs of the same shape (the floor), alternately on one stack."""

import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from local.airflow import Airflow
from local.demo import DAGS
from local.settings import PROJECT, temporary
from local.stack import Stack

ROUNDS = 3
FLOOR = [f"floor_{dag_id}" for dag_id in DAGS]

Tasks = list[dict[str, Any]]
Seconds = dict[str, float]
console = Console(highlight=False)


def main() -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"  # parsing DAG files here must not write to the user's
        stack = Stack(replace(temporary(folder), model_environments=folder / "models"))
        dags = stack.settings.project / "dags"
        empty = shutil.copy(Path(__file__).with_name("floor.py"), folder)  # away from local/airflow.py
        files = [Path(empty), *(dags / f"{dag_id}.py" for dag_id in DAGS)]
        parsed = [f"{file.stem} {_parse_seconds(file):.2f} s" for file in files]
        try:
            with console.status("Starting"):
                stack.start(["s3", "mlflow", "airflow", "serve"])
            runs = _measure(Airflow(stack.settings), dags)
        finally:
            with console.status("Stopping"):
                stack.stop()
    console.print(_tabulate(runs))
    console.print("Parsing a file in a new process:", ", ".join(parsed))


def _measure(airflow: Airflow, folder: Path) -> dict[str, list[Seconds]]:
    """Run the pipeline once cold, then floor and pipeline alternately.

    The floor has the shape of the pipeline's second run, which compares the new version with a champion.
    """
    airflow.wait_for_dags(DAGS)
    runs: dict[str, list[Seconds]] = {"floor": [], "pipeline": [], "cold": [_run(airflow, DAGS)[0]]}
    write_floor(folder, _run(airflow, DAGS)[1])
    airflow.wait_for_dags(FLOOR)
    for _ in range(ROUNDS):
        runs["floor"].append(_run(airflow, FLOOR)[0])
        runs["pipeline"].append(_run(airflow, DAGS)[0])
    return runs


def _run(airflow: Airflow, dag_ids: list[str]) -> tuple[Seconds, dict[str, Tasks]]:
    """Run DAGs that trigger each other.

    :return: the seconds from trigger to end as ``total``, and of each task with all its mapped instances; the task
        instances by DAG id
    """
    instances: dict[str, Tasks] = {}
    with console.status(", ".join(dag_ids)):
        runs = []
        for dag_id, run_id in airflow.run_chain(dag_ids):
            if airflow.wait(dag_id, run_id) != "success":
                raise SystemExit(f"{dag_id} {run_id} failed: there is nothing to measure")
            instances[dag_id.removeprefix("floor_")] = airflow.tasks(dag_id, run_id)
            runs.append(airflow.run(dag_id, run_id))
    total = datetime.fromisoformat(runs[-1]["end_date"]) - datetime.fromisoformat(runs[0]["queued_at"])
    seconds = defaultdict(float, total=total.total_seconds())
    for dag_id, tasks in instances.items():
        for task in tasks:
            seconds[f"{dag_id}.{task['task_id']}"] += task["duration"] or 0
    return seconds, instances


def write_floor(folder: Path, instances: dict[str, Tasks]) -> None:
    """Write empty DAGs with the tasks of which there are instances, and the edges and assets of the real ones."""
    for dag_id, ran in instances.items():
        dag = getattr(importlib.import_module(f"dags.{dag_id}"), dag_id)()
        succeeded = {task["task_id"] for task in ran if task["state"] == "success"}
        tasks = {
            task.task_id: {
                "empty": task.task_type == "EmptyOperator",
                "copies": sum(one["task_id"] == task.task_id and one["map_index"] >= 0 for one in ran),
                "outlets": [f"floor_{asset.name}" for asset in task.outlets],
                "downstream": sorted(task.downstream_task_ids & succeeded),
            }
            for task in dag.tasks
            if task.task_id in succeeded
        }
        shape = {"schedule": [f"floor_{asset.name}" for asset in dag.schedule or []], "tasks": tasks}
        file = folder / f"floor_{dag_id}.py"
        file.with_suffix(".json").write_text(json.dumps(shape, indent=2))
        shutil.copy(Path(__file__).with_name("floor.py"), file)


def _parse_seconds(file: Path) -> float:
    """Return the seconds that Python needs for a DAG file in a new process, after a first run that fills caches."""
    seconds = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, file], env=os.environ | {"PYTHONPATH": str(PROJECT)}, check=True)
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def _tabulate(runs: dict[str, list[Seconds]]) -> Table:
    table = Table("task", *runs, title="Seconds from trigger to end, and of each task with all its mapped instances")
    for name in runs["cold"][0]:
        row = [median(run[name] for run in measured) for measured in runs.values()]
        if any(row):
            table.add_row(name, *(f"{seconds:.1f}" for seconds in row))
        if name == "total":
            table.add_row("x floor", *(f"{seconds / row[0]:.2f}" for seconds in row), end_section=True)
    return table


if __name__ == "__main__":
    main()
