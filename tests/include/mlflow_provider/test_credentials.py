"""What Airflow stores of each operator, and what everybody on the machine can read, holds no credential."""

from __future__ import annotations

import json
import logging
import threading
from base64 import b64encode
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import psutil
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields as rendered

from include.mlflow_provider.operators import registry
from include.mlflow_provider.operators.deployment import CreateDeploymentOperator, PredictOperator
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.mlflow_provider.sensors.model_version import MLflowModelVersionSensor

TABLE = {"dataframe_split": {"columns": ["head", "tail"], "data": [[94.1, 36.0]]}}


@contextmanager
def commands():
    """Collect the command line of every process that this one has started, directly or not."""
    seen, ended = set(), threading.Event()

    def look():
        while not ended.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


@pytest.fixture
def operators(name, version, lengths, serving):
    """One of each class, in the order in which they can run."""
    there = {"name": name, "version": version["version"]}
    target = {"target_uri": serving, "target_conn_id": "aws_default"}
    with DAG("credentials", schedule=None):
        return [
            registry.CreateRegisteredModelOperator(task_id="create", name=name, exist_ok=True),
            registry.GetRegisteredModelOperator(task_id="get", name=name),
            registry.CreateModelVersionOperator(task_id="register", name=name, source=lengths.uri),
            registry.GetModelVersionOperator(task_id="get_version", **there),
            registry.TransitionModelVersionStageOperator(task_id="move", stage="Staging", alias="champion", **there),
            registry.GetLatestModelVersionsOperator(task_id="latest", name=name),
            MLflowModelVersionSensor(task_id="wait", name=name, alias="champion"),
            ModelLoadAndPredictOperator(
                task_id="predict",
                model_uri=f"models:/{name}/Staging",
                data=[{"head": 1.0, "tail": 2.0}],
                env_manager="local",
            ),
            CreateDeploymentOperator(task_id="deploy", name=name, model_uri=lengths.uri, **target),
            PredictOperator(task_id="ask", deployment_name=name, inputs=TABLE, **target),
            registry.DeleteModelVersionOperator(task_id="delete_version", **there),
            registry.DeleteRegisteredModelOperator(task_id="delete", name=name),
        ]


def test_no_operator_leaves_a_credential_where_others_can_read_it(operators, hook, services, caplog, capfd):
    caplog.set_level(logging.INFO)
    with commands() as seen:
        stored = [
            (task.task_id, task.execute({"ti": SimpleNamespace(bundle_instance=None)}), rendered(task), task_link(task))
            for task in operators
        ]
    public = "\n".join([caplog.text, *capfd.readouterr(), *map(str, stored), *seen])
    assert "[3.0]" in public
    assert any("mlflow-predict-" in command for command in seen)
    assert any("models serve" in command for command in seen)
    login = hook.server
    secrets = [
        login.password,
        b64encode(f"{login.login}:{login.password}".encode()).decode(),
        json.loads(services["AIRFLOW_CONN_AWS_DEFAULT"])["password"],
    ]
    assert not [secret for secret in secrets if secret in public]


def task_link(task):
    """Return the address behind a task's button, which Airflow keeps as an XCom."""
    return [link.get_link(task, ti_key=None) for link in task.operator_extra_links]
