"""The end of a prediction under the real Airflow."""

import psutil
import pytest

from .processes import alive, family, wait_for_end, wait_until

DAG_ID = "endless_prediction"
DAG_FILE = f"""\
from airflow.sdk import DAG
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator

with DAG("{DAG_ID}", schedule=None):
    ModelLoadAndPredictOperator(
        task_id="predict", model_uri="%s", data={{"head": [1.0], "tail": [1.0]}}, env_manager="local"
    )
"""


@pytest.fixture
def dag(stack, airflow, endless):
    """A DAG with a model that never ends."""
    file = stack.settings.project / "dags" / f"{DAG_ID}.py"
    file.write_text(DAG_FILE % endless.uri)
    airflow.wait_for_dags([DAG_ID])
    yield
    file.unlink()


@pytest.fixture
def run_id(dag, airflow):
    run_id = airflow.trigger(DAG_ID)
    yield run_id
    mark_failed(airflow, run_id)


@pytest.fixture
def numbers(airflow, run_id):
    """The process of the model and its child, which run."""
    [task] = wait_until(lambda: [task for task in airflow.tasks(DAG_ID, run_id) if task["state"] == "running"])
    numbers = wait_until(lambda: family(airflow.log(DAG_ID, run_id, task)))
    assert len(alive(numbers)) == 2
    return numbers


def mark_failed(airflow, run_id):
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}"
    airflow._http.patch(path, json={"state": "failed"}).raise_for_status()


def test_a_run_that_is_marked_failed_takes_the_model_with_it(airflow, run_id, numbers):
    mark_failed(airflow, run_id)
    wait_for_end(numbers)


def test_a_task_that_is_cleared_takes_the_model_with_it(airflow, run_id, numbers):
    airflow.clear(DAG_ID, run_id, ["predict"])
    wait_for_end(numbers)


def test_a_task_that_is_killed_takes_the_model_with_it(airflow, run_id, numbers):
    psutil.Process(numbers[0]).parent().kill()
    wait_for_end(numbers)
    assert airflow.wait(DAG_ID, run_id) == "failed"
