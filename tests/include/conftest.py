"""Tables of possums, and the buckets that storage and MLflow write to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from mlflow.tracking import MlflowClient

from include import config
from include.data.features import build_transformer, compute_features
from include.data.table import read_possums
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import storage
from include.platform.tracking import connected


@pytest.fixture
def possums() -> pd.DataFrame:
    """The real table: 81 training animals and 23 holdout animals."""
    return read_possums(config.POSSUM_CSV)


@pytest.fixture(scope="session")
def with_features() -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Adds to a table the features of a transformer that was fitted on its training animals, as feature_eng does."""

    def add_features(possums: pd.DataFrame) -> pd.DataFrame:
        training = possums[(possums[config.SPLIT] == "train") & possums[config.TARGET].notna()]
        return possums.join(compute_features(possums, build_transformer().fit(training[config.RAW])))

    return add_features


@pytest.fixture
def table(possums: pd.DataFrame, with_features: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The real table with its features, as train reads it."""
    return with_features(possums)


@pytest.fixture(scope="session")
def buckets(services: dict[str, Any]) -> None:
    """The project's buckets, in the real S3."""
    hook = S3Hook(config.AWS_CONN_ID)
    for bucket in (config.DATA_BUCKET, config.ARTIFACT_BUCKET, config.XCOM_BUCKET):
        if not hook.check_for_bucket(bucket):  # the pipeline may have run on this stack before
            hook.create_bucket(bucket)


@pytest.fixture(scope="module")
def client(buckets: None) -> Iterator[MlflowClient]:
    """MLflow's own client of the real server."""
    with connected():
        yield MlflowClient()


@dataclass(frozen=True)
class Tails:
    """A registered model of its own, with two versions that keep to the contract of the pipeline's models."""

    name: str
    run_id: str
    hook: MLflowClientHook

    def crown(self, version: str) -> None:
        """Make a version the champion."""
        self.hook.set_registered_model_alias(self.name, config.CHAMPION_ALIAS, version)


@pytest.fixture(scope="session")
def tails_run(buckets: None) -> str:
    """The run that logged the model of ``models/tails.py``, with its data."""
    return log_tails(MLflowClientHook().create_experiment("tails", exist_ok=True))


@pytest.fixture
def tails(tails_run: str, monkeypatch: pytest.MonkeyPatch) -> Tails:
    """Two versions and no champion, under the name that the project knows its model by during the test."""
    hook = MLflowClientHook()
    name = f"Tails {uuid4().hex[:8]}"
    model = hook.get_run(tails_run)["outputs"]["model_outputs"][0]["model_id"]
    hook.create_registered_model(name)
    for _ in range(2):
        hook.create_model_version(name, f"models:/{model}", tails_run)
    monkeypatch.setattr(config, "REGISTERED_MODEL", name)
    return Tails(name, tails_run, hook)


def log_tails(experiment_id: str) -> str:
    import mlflow
    from mlflow.data.pandas_dataset import from_pandas

    rows = read_possums(config.POSSUM_CSV)
    uri = storage.write_table(rows, "s3://data/tails/features.parquet")
    predicted = pd.DataFrame({"prediction": [36.0], "lower": [34.0], "upper": [38.0]})
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name="Tails", tags=_TAGS) as run:
        mlflow.log_input(from_pandas(storage.read_table(uri), source=uri, name="possum_features"))
        mlflow.log_input(from_pandas(rows.head(3), name="rows without an address, as mlflow.models.evaluate logs them"))
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).parent / "models" / "tails.py"),
            signature=mlflow.models.infer_signature(rows[config.RAW], predicted),
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in ("mlflow-skinny", "pandas")],
        )
    return run.info.run_id


_TAGS = {"code_version": "1f0c9d", "airflow.dag_id": "train", "airflow.dag_run_id": "manual__1"}
