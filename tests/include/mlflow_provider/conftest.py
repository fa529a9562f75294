"""Models logged in the real MLflow, and connections for one test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from include import config
from include.mlflow_provider.hooks.base import MLflowBaseHook
from include.mlflow_provider.hooks.client import MLflowClientHook

from .scripted import Answer, ScriptedServer

MODELS = Path(__file__).parent / "models"
PLUGINS = Path(__file__).parent / "plugins"
LENGTHS = {"head": [94.1, 92.5, 94.0], "tail": [36.0, 36.5, 39.0]}


@dataclass(frozen=True)
class LoggedModel:
    model_id: str
    run_id: str

    @property
    def uri(self) -> str:
        return f"models:/{self.model_id}"


@pytest.fixture(scope="session")
def hook(services: Any) -> MLflowClientHook:
    return MLflowClientHook()


@pytest.fixture
def name() -> str:
    """A name nobody has used."""
    return f"it's {uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def experiment_id(hook: MLflowClientHook) -> str:
    return hook.create_experiment("provider", exist_ok=True)


@pytest.fixture(scope="session")
def lengths(buckets: None, experiment_id: str) -> LoggedModel:
    """A model of two columns of doubles, with a signature."""
    return _log_model("lengths.py", experiment_id)


@pytest.fixture(scope="session")
def lengths_in_s3(hook: MLflowClientHook, lengths: LoggedModel) -> str:
    """The folder of that model, where MLflow keeps it in S3."""
    artifact_uri = hook.get_logged_model(lengths.model_id)["info"]["artifact_uri"]
    return artifact_uri.replace("mlflow-artifacts:/", f"s3://{config.ARTIFACT_BUCKET}/")


@pytest.fixture(scope="session")
def whoami(buckets: None, experiment_id: str) -> LoggedModel:
    return _log_model("whoami.py", experiment_id)


@pytest.fixture(scope="session")
def endless(buckets: None, experiment_id: str) -> LoggedModel:
    return _log_model("endless.py", experiment_id)


@pytest.fixture(scope="session")
def quitter(buckets: None, experiment_id: str) -> LoggedModel:
    return _log_model("quitter.py", experiment_id)


@pytest.fixture(scope="session")
def outdated(buckets: None, experiment_id: str) -> LoggedModel:
    """A model that asks for another pandas than is installed here."""
    return _log_model("lengths.py", experiment_id, pandas="2.0.0")


@pytest.fixture
def version(hook: MLflowClientHook, name: str, lengths: LoggedModel) -> dict[str, Any]:
    """Version 1 of a registered model of that name."""
    hook.create_registered_model(name)
    return hook.create_model_version(name, lengths.uri, lengths.run_id)


def _log_model(file: str, experiment_id: str, pandas: str = metadata.version("pandas")) -> LoggedModel:
    import mlflow
    import pandas as pd

    frame = pd.DataFrame(LENGTHS)
    with MLflowBaseHook().environment(), mlflow.start_run(experiment_id=experiment_id) as run:
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(MODELS / file),
            signature=mlflow.models.infer_signature(frame, frame["head"].to_numpy()),
            pip_requirements=[
                f"mlflow-skinny=={metadata.version('mlflow-skinny')}",
                f"pandas=={pandas}",
            ],
        )
    return LoggedModel(info.model_id, run.info.run_id)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define an Airflow connection for one test."""

    def define(conn_id: str = "scripted", **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "http", **fields}))

    return define


@pytest.fixture
def scripted(connect: Callable[..., None]) -> Iterator[Callable[..., ScriptedServer]]:
    """Start a server behind the connection ``scripted`` that gives the answers a test wants."""
    running: list[ScriptedServer] = []

    def start(*answers: Answer, **fields: Any) -> ScriptedServer:
        server = ScriptedServer(list(answers))
        running.append(server)
        connect(**{"host": "127.0.0.1", "port": server.port, "login": "me", "password": "s3cret-word", **fields})
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def serving(services: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a deployment target that really serves models; every deployment ends with the test."""
    monkeypatch.syspath_prepend(PLUGINS)
    from mlflow.deployments import interface

    interface.plugin_store.register_entrypoints()  # MLflow may have looked for plugins before this one was there
    yield "serving"
    client = interface.get_deploy_client("serving")
    for deployment in client.list_deployments():
        client.delete_deployment(deployment["name"])
