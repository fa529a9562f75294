"""Models logged in the real MLflow, and connections for one test."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from include.mlflow_provider.hooks import rest
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
def services(stack: Any, services: dict[str, Any]) -> dict[str, Any]:
    """The stack's services with MLflow's administrator: others get 403 for what is not there, instead of 404."""
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    connection |= {"login": "admin", "password": stack.settings.secrets()["MLFLOW_PASSWORD"]}
    return services | {"AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps(connection)}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between retries that take no time."""
    monkeypatch.setattr(rest, "BACKOFF", 0.01)


@pytest.fixture(autouse=True)
def as_administrator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of this folder alone, and of them those that use the services, are MLflow's administrator."""
    if "services" in request.fixturenames:
        administrator = request.getfixturevalue("services")["AIRFLOW_CONN_MLFLOW_DEFAULT"]
        monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", administrator)


@pytest.fixture(scope="session")
def hook(services: dict[str, Any]) -> MLflowClientHook:
    """The administrator's hook, for data that all tests share."""
    hook = MLflowClientHook()
    hook.connection = Connection.from_json(services["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    return hook


@pytest.fixture
def name() -> str:
    """A name that is not used yet."""
    return f"it's {uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def experiment_id(hook: MLflowClientHook) -> str:
    return hook.create_experiment("provider", exist_ok=True)


@pytest.fixture
def run_id(hook: MLflowClientHook, experiment_id: str) -> str:
    return hook.create_run(experiment_id)["info"]["run_id"]


def _logged(file: str, **arguments: str) -> Any:
    """Return a fixture: the model of a file in ``models``, logged once."""

    @pytest.fixture(scope="session")
    def model(buckets: None, hook: MLflowClientHook, experiment_id: str) -> LoggedModel:
        import mlflow

        with hook.environment(), mlflow.start_run(experiment_id=experiment_id) as run:
            info = mlflow.pyfunc.log_model(name="model", **model_arguments(file, **arguments))
        return LoggedModel(info.model_id, run.info.run_id)

    return model


lengths = _logged("lengths.py")  # of two columns of doubles, with a signature
outdated = _logged("lengths.py", pandas="2.0.0")  # asks for another pandas than is installed here
whoami, endless, quitter = map(_logged, ("whoami.py", "endless.py", "quitter.py"))


@pytest.fixture(scope="session")
def lengths_in_s3(hook: MLflowClientHook, lengths: LoggedModel) -> str:
    """The folder of that model, where MLflow keeps it in S3."""
    from include.problem import PROBLEM

    artifact_uri = hook.get_logged_model(lengths.model_id)["info"]["artifact_uri"]
    return artifact_uri.replace("mlflow-artifacts:/", f"s3://{PROBLEM.artifact_bucket}/")


@pytest.fixture
def version(hook: MLflowClientHook, name: str, lengths: LoggedModel) -> dict[str, Any]:
    """Version 1 of a registered model of that name."""
    hook.create_registered_model(name)
    return hook.create_model_version(name, lengths.uri, lengths.run_id)


@pytest.fixture
def set_status(stack: Any, name: str) -> Callable[..., None]:
    """Change the status of a version in MLflow's database: the server itself leaves none but READY."""

    def update(status: str, message: str | None = None, version: int = 1) -> None:
        with closing(sqlite3.connect(stack.settings.home / "mlflow" / "mlflow.db", timeout=30)) as database, database:
            database.execute(
                "UPDATE model_versions SET status = ?, status_message = ? WHERE name = ? AND version = ?",
                (status, message, name, version),
            )

    return update


@pytest.fixture
def add_version(hook: MLflowClientHook, name: str, experiment_id: str) -> Callable[..., dict[str, Any]]:
    """Register a version of ``name`` whose run has logged the metrics given; it has no files."""

    def register(**metrics: float) -> dict[str, Any]:
        run_id = hook.create_run(experiment_id)["info"]["run_id"]
        hook.log_batch(run_id, [{"key": key, "value": value} for key, value in metrics.items()])
        hook.create_registered_model(name, exist_ok=True)
        return hook.create_model_version(name, f"s3://nowhere/{run_id}", run_id)

    return register


def model_arguments(file: str, pandas: str = metadata.version("pandas")) -> dict[str, Any]:
    """Return what ``mlflow.pyfunc`` needs to log or save the model of a file."""
    import mlflow
    import pandas as pd

    frame = pd.DataFrame(LENGTHS)
    return {
        "python_model": str(MODELS / file),
        "signature": mlflow.models.infer_signature(frame, frame["head"].to_numpy()),
        "pip_requirements": [f"mlflow-skinny=={metadata.version('mlflow-skinny')}", f"pandas=={pandas}"],
    }


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model environments: the first prediction of the session builds one."""
    return tmp_path_factory.mktemp("environments")


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
def ordinary_user(stack: Any, hook: MLflowClientHook, connect: Callable[..., None]) -> str:
    """The id of a connection to MLflow whose user is not an administrator."""
    from local.settings import AIRFLOW_USER

    password = stack.settings.secrets()["AIRFLOW_MLFLOW_PASSWORD"]
    connect("ordinary", host=hook.base_url, login=AIRFLOW_USER, password=password)
    return "ordinary"


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
