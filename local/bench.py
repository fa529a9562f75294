"""The benchmark: the pipeline beside DAGs of the same shape that do nothing, measured on one stack in turns."""

from __future__ import annotations

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
from local.stack import SERVICES, Stack

ROUNDS = 3
FLOOR = [f"floor_{dag_id}" for dag_id in DAGS]
EMPTY_FILE = """\
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag


@dag(schedule=None)
def empty():
    EmptyOperator(task_id="nothing")


empty()
"""

console = Console(highlight=False)


def main() -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    sys.path.insert(0, str(PROJECT))
    with tempfile.TemporaryDirectory(prefix="possums-bench-") as folder:
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"  # what reads the DAG files here leaves nothing in the user's
        settings = replace(temporary(Path(folder)), model_environments=Path(folder) / "models")
        parse = _parse_seconds(Path(folder))
        stack = Stack(settings)
        try:
            with console.status("Starting"):
                stack.start(list(SERVICES))
            runs = _measure(Airflow(settings), settings.project / "dags")
        finally:
            with console.status("Stopping"):
                stack.stop()
    for table in (_pipeline_table(runs), _task_table(runs), _parse_table(parse)):
        console.print(table)


def _measure(airflow: Airflow, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run the pipeline once cold, then floor and pipeline in turns; return what each run took.

    The floor has the shape of the pipeline's second run, in which a champion is there to compare with.
    """
    airflow.wait_for_dags(DAGS)
    runs: dict[str, list[dict[str, Any]]] = {"cold": [_run(airflow, DAGS)], "pipeline": [], "floor": []}
    write_floor(folder, _run(airflow, DAGS)["instances"])
    airflow.wait_for_dags(FLOOR)
    for _ in range(ROUNDS):
        runs["floor"].append(_run(airflow, FLOOR))
        runs["pipeline"].append(_run(airflow, DAGS))
    return runs


def _run(airflow: Airflow, dag_ids: list[str]) -> dict[str, Any]:
    """Run DAGs that set each other off; return the seconds from trigger to the last task and of each task."""
    with console.status(f"{', '.join(dag_ids)}"):
        run_id = airflow.trigger(dag_ids[0])
        started = airflow.run(dag_ids[0], run_id)["queued_at"]
        instances: dict[str, list[dict[str, Any]]] = {}
        for dag_id, consumer in zip(dag_ids, [*dag_ids[1:], None], strict=True):
            if airflow.wait(dag_id, run_id) != "success":
                raise SystemExit(f"{dag_id} {run_id} failed: the benchmark measures nothing")
            instances[dag_id.removeprefix("floor_")] = airflow.tasks(dag_id, run_id)
            ended = airflow.run(dag_id, run_id)["end_date"]
            run_id = airflow.wait_for_consumer(dag_id, run_id, consumer) if consumer else run_id
    seconds: dict[str, float] = defaultdict(float)
    for dag_id, tasks in instances.items():
        for task in tasks:
            seconds[f"{dag_id}.{task['task_id']}"] += task["duration"] or 0
    total = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return {"total": total, "tasks": seconds, "instances": instances}


def write_floor(folder: Path, instances: dict[str, list[dict[str, Any]]]) -> None:
    """Write DAGs with the tasks, edges and assets of the real ones, doing nothing.

    :param folder: of the DAG files
    :param instances: the task instances of a run of each DAG; as many copies are made of mapped tasks, and branches
        go where they went
    """
    for dag_id, ran in instances.items():
        dag = getattr(importlib.import_module(f"dags.{dag_id}"), dag_id)()
        shape = {
            "schedule": [f"floor_{asset.name}" for asset in dag.schedule or []],
            "tasks": {task.task_id: _shape(task, ran) for task in dag.tasks},
        }
        file = folder / f"floor_{dag_id}.py"
        file.with_suffix(".json").write_text(json.dumps(shape, indent=2))
        shutil.copy(Path(__file__).with_name("floor.py"), file)


def _shape(task: Any, ran: list[dict[str, Any]]) -> dict[str, Any]:
    went_on = {instance["task_id"] for instance in ran if instance["state"] == "success"}
    return {
        "kind": "empty" if task.task_type == "EmptyOperator" else "branch" if "Branch" in task.task_type else "task",
        "copies": sum(instance["task_id"] == task.task_id and instance["map_index"] >= 0 for instance in ran),
        "follows": sorted(task.downstream_task_ids & went_on),
        "outlets": [f"floor_{asset.name}" for asset in task.outlets],
        "trigger_rule": "all_done" if task.is_teardown else task.trigger_rule.value,
        "downstream": sorted(task.downstream_task_ids),
    }


def _parse_seconds(folder: Path) -> dict[str, list[float]]:
    """Run each DAG file and one with an empty task by themselves, in turns."""
    empty = folder / "empty.py"
    empty.write_text(EMPTY_FILE)
    files = {"one empty task": empty} | {dag_id: PROJECT / "dags" / f"{dag_id}.py" for dag_id in DAGS}
    seconds: dict[str, list[float]] = defaultdict(list)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with console.status("Parsing the DAG files"):
        for attempt in range(1 + 2 * ROUNDS):
            for name, file in files.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, str(file)], env=environment, check=True, capture_output=True)
                if attempt:  # the first fills caches
                    seconds[name].append(time.perf_counter() - started)
    return seconds


def _pipeline_table(runs: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table("", "seconds", "x floor", title="From trigger to the last task")
    floor = median(run["total"] for run in runs["floor"])
    for name in ("floor", "pipeline", "cold"):
        seconds = median(run["total"] for run in runs[name])
        table.add_row(name, f"{seconds:.1f}", f"{seconds / floor:.2f}")
    return table


def _task_table(runs: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table("task", "floor", "pipeline", "cold", title="Seconds of each task (copies added up)")
    for name in runs["cold"][0]["tasks"]:
        row = [median(run["tasks"][name] for run in runs[kind]) for kind in ("floor", "pipeline", "cold")]
        if any(row):
            table.add_row(name, *(f"{seconds:.1f}" for seconds in row))
    return table


def _parse_table(seconds: dict[str, list[float]]) -> Table:
    table = Table("DAG file", "seconds", "x empty", title="Parsing a DAG file in a fresh process")
    empty = median(seconds["one empty task"])
    for name, values in seconds.items():
        table.add_row(name, f"{median(values):.2f}", f"{median(values) / empty:.2f}")
    return table


if __name__ == "__main__":
    main()
