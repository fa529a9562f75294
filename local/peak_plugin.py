"""An Airflow plugin for the benchmark: it records the peak memory of each task."""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


class PeakListener:
    """Writes a line to ``peaks.jsonl`` in Airflow's home when a task has ended.

    That is the peak of the task's process, and of the largest process that it started, if this one had more: Linux
    counts every program with the memory of the process that started it, however small it is itself.
    """

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        """Record a task that has succeeded."""
        _record(task_instance)

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        """Record a task that has failed."""
        _record(task_instance)


def _record(task_instance: Any) -> None:
    own, started = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = (own + started if started > own else own) * UNIT
    line = {"task": f"{task_instance.dag_id}.{task_instance.task_id}", "bytes": peak}
    with (Path(os.environ["AIRFLOW_HOME"]) / "peaks.jsonl").open("a") as file:
        file.write(f"{json.dumps(line)}\n")


class PeakPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "peak"
    listeners = [PeakListener()]
