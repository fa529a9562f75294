"""An empty DAG with the shape in the JSON file of the same name: the floor of ``make bench``.

The benchmark copies this file into a stack's DAG folder, once for each DAG of the pipeline.
"""

import json
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset


def nothing(*_: Any) -> None:
    """Do nothing."""


def add_task(task_id: str, shape: dict[str, Any]) -> Any:
    """Add a task to the DAG."""
    common: dict[str, Any] = {"task_id": task_id, "outlets": [Asset(name) for name in shape["outlets"]]}
    if shape["empty"]:
        return EmptyOperator(**common)
    if shape["copies"]:
        copies = [[index] for index in range(shape["copies"])]
        return PythonOperator.partial(python_callable=nothing, **common).expand(op_args=copies)
    return PythonOperator(python_callable=nothing, **common)


described = Path(__file__).with_suffix(".json")
if described.exists():
    shape = json.loads(described.read_text())
    schedule = [Asset(name) for name in shape["schedule"]] or None
    with DAG(described.stem, schedule=schedule, catchup=False, max_active_runs=1):
        added = {task_id: add_task(task_id, task) for task_id, task in shape["tasks"].items()}
        for task_id, task in shape["tasks"].items():
            added[task_id] >> [added[name] for name in task["downstream"]]
