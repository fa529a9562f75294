from typing import Any

import pytest
from airflow.sdk import DAG

from include.problem import PROBLEM

GROUP = "prepare_mlflow_experiment"


@pytest.mark.parametrize(
    ("names", "branch"),
    [
        (["Default", PROBLEM.experiment], "experiment_exists"),
        (["Default"], "create_experiment"),
        ([f"{PROBLEM.experiment}_2", PROBLEM.experiment.swapcase()], "create_experiment"),
        ([], "create_experiment"),
    ],
)
def test_the_experiment_is_created_unless_it_exists(dag: DAG, names: list[str], branch: str) -> None:
    task: Any = dag.get_task(f"{GROUP}.check_if_experiment_exists")

    assert task.python_callable(names) == f"{GROUP}.{branch}"
    assert f"{GROUP}.{branch}" in task.downstream_task_ids
