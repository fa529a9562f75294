"""Tables in the real S3, and registered models in the real MLflow."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from mlflow.data.pandas_dataset import from_pandas
from mlflow.tracking import MlflowClient

from include.data.checks import inspect
from include.data.features import build_transformer, compute_features
from include.data.reading import parse_rows
from include.data.split import select_rows, select_training
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.problem import PROBLEM
from include.services import alerts, champions, storage, tracking
from include.services.alerts import Alert
from include.services.champions import CHAMPION_ALIAS
from include.settings import DATA_BUCKET, INCLUDE
from include.spec import Problem

from ..toy import HOUSES, make_rows

TAGS = {"code_version": "1f0c9d", "airflow.dag_id": "train", "airflow.dag_run_id": "manual__1"}


def add_features(table: pd.DataFrame, problem: Problem = HOUSES) -> pd.DataFrame:
    """Add to a table the features of a transformer that was fitted on its training rows, as feature_eng does."""
    transformer = build_transformer(problem).fit(select_training(table, problem)[problem.inputs])
    return table.join(compute_features(table, transformer, problem))


def select(rows: pd.DataFrame, problem: Problem = HOUSES) -> pd.DataFrame:
    """Return raw rows checked and split."""
    return select_rows(inspect(rows, problem), "houses.csv", problem)


def make_table(rows: pd.DataFrame, problem: Problem = HOUSES) -> pd.DataFrame:
    """Return raw rows as feature_eng publishes them: checked, split, with features."""
    return add_features(select(rows, problem), problem)


@pytest.fixture(scope="session")
def houses() -> pd.DataFrame:
    """The feature table of the toy problem."""
    return make_table(make_rows())


@pytest.fixture(scope="session")
def project_rows() -> pd.DataFrame:
    """The raw rows of the project's own problem."""
    return parse_rows((INCLUDE.parent / PROBLEM.table).read_bytes(), PROBLEM.table)


@pytest.fixture(scope="session")
def project_table(project_rows: pd.DataFrame) -> pd.DataFrame:
    """The feature table of the project's own problem."""
    return make_table(project_rows, PROBLEM)


@pytest.fixture(scope="module")
def client(buckets: None) -> Iterator[MlflowClient]:
    """MLflow's client of the real server."""
    with tracking.connected():
        yield MlflowClient()


@pytest.fixture(scope="module")
def experiment_id(client: MlflowClient, request: pytest.FixtureRequest) -> str:
    """An experiment of the test module's own."""
    return client.create_experiment(request.module.__name__)


@dataclass(frozen=True)
class Registered:
    """A registered model with two versions that have the contract of the pipeline's models."""

    name: str
    run_id: str
    hook: MLflowClientHook

    def tags(self, version: str) -> dict[str, str]:
        return champions.read_tags(self.hook.get_model_version(self.name, version))

    def tag(self, version: str, key: str, value: str) -> None:
        self.hook.set_model_version_tag(self.name, version, key, value)

    def promote(self, version: str) -> None:
        """Move the champion's alias, without the record of a promotion."""
        self.hook.set_registered_model_alias(self.name, CHAMPION_ALIAS, version)


@pytest.fixture(scope="session")
def registered_run(buckets: None, project_table: pd.DataFrame) -> str:
    """The run that logged the model of ``models/constant.py``, with its data."""
    return log_constant(MLflowClientHook().create_experiment("constant", exist_ok=True), project_table)


@pytest.fixture
def registered(registered_run: str, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """Two versions and no champion, under the name that the project's model has during the test."""
    return register(registered_run, monkeypatch)


@pytest.fixture
def waiting(registered: Registered) -> Registered:
    """Version 1 is champion, version 2 was trained and waits."""
    for version in ("1", "2"):
        registered.tag(version, champions.FEATURES_URI, "s3://data/f.parquet")
    registered.tag("1", champions.PROMOTED, "2026-11-01T00:00:00.000000Z")
    registered.promote("1")
    return registered


def register(run_id: str, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """Register the model of a run twice, under the name that the project's model has during the test."""
    hook = MLflowClientHook()
    name = f"Constant {uuid4().hex[:8]}"
    model = hook.get_run(run_id)["outputs"]["model_outputs"][0]["model_id"]
    hook.create_registered_model(name)
    for _ in range(2):
        hook.create_model_version(name, f"models:/{model}", run_id)
    monkeypatch.setattr(champions, "MODEL", name)
    return Registered(name, run_id, hook)


def log_constant(experiment_id: str, table: pd.DataFrame) -> str:
    """Log the model with the table that it pretends to be trained on, and return the run's id."""
    uri = storage.write_table(table, f"s3://{DATA_BUCKET}/constant/features.parquet")
    predicted = pd.DataFrame({"prediction": [36.0], "lower": [34.0], "upper": [38.0]})
    with (
        tracking.connected(),
        tracking.mlflow.start_run(experiment_id=experiment_id, run_name="Constant", tags=TAGS) as run,
    ):
        tracking.mlflow.log_input(from_pandas(storage.read_table(uri), source=uri, name="features"))
        unnamed = from_pandas(table.head(3), name="rows without an address, as mlflow.models.evaluate logs them")
        tracking.mlflow.log_input(unnamed)
        tracking.mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).parent / "models" / "constant.py"),
            signature=tracking.infer_signature(table[PROBLEM.inputs], predicted),
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in ("mlflow-skinny", "pandas")],
        )
    return run.info.run_id


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Alert]:
    """The alerts that were sent."""
    sent: list[Alert] = []
    monkeypatch.setattr(alerts, "send", sent.append)
    return sent
