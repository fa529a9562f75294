"""The sensor of model versions in a running Airflow, with an MLflow that is down for a while."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.settings import AWS_CONN_ID, XCOM_BUCKET
from local.airflow import Airflow
from local.stack import Stack
from tests.end_to_end.conftest import dag_file, stopped, task_of, wait_for_task
from tests.waiting import wait_until

DAG_ID = "sensors"
# The rescheduled one has a long interval: if an executor reports the end of a task late, Airflow 3.3.2 takes a task
# that is running again by then for dead.
DAG = f"""
from airflow.sdk import DAG

from include.mlflow_provider.sensors.model_version import MLflowModelVersionSensor as Sensor

with DAG("{DAG_ID}", schedule=None, params={{"name": ""}}):
    common = {{"name": "{{{{ params.name }}}}", "timeout": 300, "retries": 3}}
    promoted = Sensor(task_id="promoted", alias="champion", deferrable=True, poke_interval=1, **common)
    broken = Sensor(task_id="broken", version=1, deferrable=True, poke_interval=1, **common)
    second = Sensor(task_id="second", version=2, mode="reschedule", poke_interval=10, **common)
"""


@pytest.fixture
def dag(stack: Stack, buckets: None, airflow: Airflow) -> Iterator[None]:
    """A DAG of sensors."""
    with dag_file(stack, airflow, DAG, DAG_ID):
        yield


def set_status(stack: Stack, name: str, status: str, message: str | None = None) -> None:
    """Change the status of a model's versions in MLflow's database: the server itself leaves none but READY."""
    statement = "UPDATE model_versions SET status = ?, status_message = ? WHERE name = ?"
    with closing(sqlite3.connect(stack.settings.home / "mlflow" / "mlflow.db", timeout=30)) as database, database:
        database.execute(statement, (status, message, name))


def wait_for_log(airflow: Airflow, run_id: str, task_id: str, text: str, timeout: float) -> None:
    def log() -> str:
        return airflow.log(DAG_ID, run_id, task_of(airflow, DAG_ID, run_id, task_id))

    wait_until(lambda: text in log(), timeout, lambda: f"{text!r} is not in the log of {task_id}: {log()}")


def returned(airflow: Airflow, run_id: str, task_id: str) -> dict[str, Any]:
    path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    key = airflow.get(path)["value"].partition(f"{XCOM_BUCKET}/")[2]
    return json.loads(S3Hook(AWS_CONN_ID).read_key(key, XCOM_BUCKET))


def test_sensors_wait_without_a_worker_for_a_version_and_for_mlflow_itself(
    dag: None, stack: Stack, airflow: Airflow
) -> None:
    mlflow, name = MLflowClientHook(), f"sensed {uuid4().hex[:8]}"
    mlflow.create_registered_model(name)
    mlflow.create_model_version(name, "s3://nowhere/model")
    set_status(stack, name, "PENDING_REGISTRATION")
    run_id = airflow.trigger(DAG_ID, {"name": name})
    for task_id, state in {"promoted": "deferred", "broken": "deferred", "second": "up_for_reschedule"}.items():
        wait_for_task(airflow, DAG_ID, run_id, task_id, state, timeout=120)

    with stopped(stack, "mlflow"):
        wait_for_log(airflow, run_id, "promoted", "Waiting: No answer from MLflow", timeout=30)
        set_status(stack, name, "FAILED_REGISTRATION", "bucket is full")
    version = mlflow.create_model_version(name, "s3://nowhere/model")
    mlflow.set_registered_model_alias(name, "champion", version["version"])

    assert airflow.wait(DAG_ID, run_id, timeout=120) == "failed"
    ended = {task["task_id"]: task["state"] for task in airflow.tasks(DAG_ID, run_id)}
    assert ended == {"promoted": "success", "broken": "failed", "second": "success"}  # retries would have taken longer
    message = f"AirflowFailException: Version 1 of {name!r} is FAILED_REGISTRATION: bucket is full"
    assert message in airflow.error(DAG_ID, run_id, task_of(airflow, DAG_ID, run_id, "broken"))
    assert returned(airflow, run_id, "promoted") == mlflow.get_model_version(name, 2)
    assert returned(airflow, run_id, "second")["version"] == "2"
