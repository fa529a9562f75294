"""Every operator of the provider in a running Airflow, successful and failing: no credential leaves its task."""

import json
import secrets
from base64 import b64encode
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from include.services.champions import model_uri
from include.settings import XCOM_BUCKET
from local.airflow import Airflow
from local.settings import AIRFLOW_USER, USER
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, dag_file, places_with, task_of
from tests.watching import watched

DAG_ID = "credentials"
DAG = f"""
from airflow.sdk import DAG

from include.settings import MODEL_ENVIRONMENTS
from include.mlflow_provider.operators import registry
from include.mlflow_provider.operators.deployment import CreateDeploymentOperator, PredictOperator
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.mlflow_provider.sensors.model_version import MLflowModelVersionSensor

NAME = {{"name": "{{{{ params.name }}}}"}}
VERSION = {{**NAME, "version": "1"}}
PREDICTION = {{"model_uri": "models:/{{{{ params.name }}}}@champion", "venv_cache_path": MODEL_ENVIRONMENTS}}
THERE = {{"target_uri": "nowhere", "target_conn_id": "aws_default"}}

with DAG("{DAG_ID}", schedule=None, params={{"name": "", "source": "", "data": "", "output": ""}}):
    (
        registry.CreateRegisteredModelOperator(task_id="create", **NAME)
        >> registry.GetRegisteredModelOperator(task_id="get", **NAME)
        >> registry.CreateModelVersionOperator(task_id="register", source="{{{{ params.source }}}}", **NAME)
        >> registry.TransitionModelVersionStageOperator(task_id="move", stage="Staging", alias="champion", **VERSION)
        >> MLflowModelVersionSensor(task_id="wait", alias="champion", **NAME)
        >> registry.GetModelVersionOperator(task_id="get_version", **VERSION)
        >> registry.GetLatestModelVersionsOperator(task_id="latest", **NAME)
        >> ModelLoadAndPredictOperator(
            task_id="predict", data="{{{{ params.data }}}}", output_uri="{{{{ params.output }}}}", **PREDICTION
        )
        >> ModelLoadAndPredictOperator(task_id="bad_input", data=[{{"unknown": 94.1}}], **PREDICTION)
        >> CreateDeploymentOperator(task_id="deploy", trigger_rule="all_done", model_uri="models:/x/1", **NAME, **THERE)
        >> PredictOperator(task_id="ask", trigger_rule="all_done", deployment_name="x", **THERE)
        >> registry.DeleteModelVersionOperator(task_id="delete_version", trigger_rule="all_done", **VERSION)
        >> registry.DeleteRegisteredModelOperator(task_id="delete", **NAME)
    )
    for conn_id in ("refused", "silent"):
        registry.GetRegisteredModelOperator(task_id=f"get_{{conn_id}}", mlflow_conn_id=conn_id, **NAME)
        ModelLoadAndPredictOperator(
            task_id=f"predict_{{conn_id}}", mlflow_conn_id=conn_id, data=[{{"unknown": 94.1}}], **PREDICTION
        )
"""
FAILURES = {
    "bad_input": "ModelPredictionError: Prediction with models:/",
    "deploy": 'model deployments to "nowhere"',
    "ask": 'model deployments to "nowhere"',
    "get_refused": "Check login and password of connection 'refused'",
    "predict_refused": "Check login and password of connection 'refused'",
    "get_silent": "(connection 'silent'): [Errno 111] Connection refused",
    "predict_silent": "(connection 'silent'): [Errno 111] Connection refused",
}


@pytest.fixture
def hidden(stack: Stack, airflow: Airflow) -> dict[str, str]:
    """Secrets of the stack's own connections, and of two that fail, which are created here."""
    own = stack.settings.secrets()
    made = {name: secrets.token_hex(16) for name in ("password", "header", "token")}
    headers = json.dumps({"headers": {"X-Key": made["header"]}})
    refused = {"host": stack.settings.url("mlflow"), "login": USER, "password": made["password"], "extra": headers}
    airflow.create_connection("refused", conn_type="mlflow", **refused)
    airflow.create_connection("silent", conn_type="mlflow", host="http://127.0.0.1:9", password=made["token"])
    words = {"own": own["MLFLOW_PASSWORD"], "refused": made["password"]}
    logins = {f"login, {name}": f"{USER}:{word}" for name, word in words.items()}
    logins["login, Airflow's"] = f"{AIRFLOW_USER}:{own['AIRFLOW_MLFLOW_PASSWORD']}"
    return own | made | {name: b64encode(login.encode()).decode() for name, login in logins.items()}


@pytest.fixture
def dag(stack: Stack, airflow: Airflow) -> Iterator[None]:
    with dag_file(stack, airflow, DAG, DAG_ID):
        yield


def test_no_secret_of_a_connection_leaves_the_tasks_that_use_it(
    dag: None, hidden: dict[str, str], stack: Stack, airflow: Airflow, first: Pipeline
) -> None:
    name = f"hidden-{uuid4().hex[:8]}"
    folder = first.events["predict"]["uri"].rpartition("/")[0]
    uris = {"data": f"{folder}/rows.parquet", "output": f"{folder}/credentials.parquet"}
    source = model_uri("1")
    with watched(stack.processes) as commands:
        run_id = airflow.trigger(DAG_ID, {"name": name, "source": source, **uris})
        airflow.wait(DAG_ID, run_id)

    failed = {task["task_id"] for task in airflow.tasks(DAG_ID, run_id) if task["state"] != "success"}
    assert failed == set(FAILURES)
    for task_id, message in FAILURES.items():
        assert message in airflow.error(DAG_ID, run_id, task_of(airflow, DAG_ID, run_id, task_id))
    assert any(str(stack.settings.model_environments) in command for command in commands)
    for place in ("airflow/logs/", "airflow/airflow.db", f"s3/{XCOM_BUCKET}/"):
        assert any(place in found for found in places_with(stack, name))
    for what, secret in hidden.items():
        assert not places_with(stack, secret), what
        assert not [command for command in commands if secret in command], what


def test_a_connection_cannot_be_tested_from_the_ui(airflow: Airflow) -> None:
    """Such a test would open a connection from the API server, to any host that a user names."""
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        airflow.send("POST", "connections/test", {"connection_id": "mlflow_default", "conn_type": "mlflow"})
