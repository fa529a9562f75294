"""Runs, models and pictures in MLflow: the only module that knows MLflow's client library."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import mlflow
import requests
from airflow.utils.deprecation_tools import DeprecatedImportWarning
from mlflow.data.pandas_dataset import from_pandas
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient

from include import config
from include.config import MLFLOW_CONN_ID, RAW, SPLIT, TARGET
from include.mlflow_provider.hooks.base import MLflowBaseHook

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

# What a logged model needs to predict, in any environment: itself, the tables it reads and their storage.
MODEL_PACKAGES = ("mlflow-skinny", "scikit-learn", "skops", "numpy", "scipy", "pandas", "pyarrow", "boto3")


class TrackingError(RuntimeError):
    """MLflow did not do as asked; the message names the connection and the server."""


@contextmanager
def connected() -> Iterator[None]:
    """Let MLflow's library talk to the server of the connection, inside this block only."""
    hook = MLflowBaseHook(MLFLOW_CONN_ID)
    try:
        with hook.environment():
            yield
    except (MlflowException, requests.RequestException) as error:
        raise TrackingError(f"MLflow on {hook.server.base_url} (connection {MLFLOW_CONN_ID}): {error}") from error


def log_transformer(transformer: Pipeline, rows: pd.DataFrame, experiment_id: str) -> str:
    """Log a fitted transformer as run ``Scaler``: the transformer, the features' means, its input's hash.

    :param rows: the raw training rows that it was fitted on
    :return: the run's id
    """
    from include.possums import hash_table

    scaler = transformer[-1]
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name="Scaler", tags=_tags()) as run:
        mlflow.log_params({"input_sha256": hash_table(rows), "input_rows": len(rows)})
        means = zip(scaler.get_feature_names_out(), scaler.mean_, strict=True)
        mlflow.log_metrics({f"mean_{name}": float(mean) for name, mean in means})
        _log_sklearn(transformer, rows, "transformer")
    return run.info.run_id


def log_training(
    model: Pipeline,
    table: pd.DataFrame,
    metrics: Mapping[str, float],
    *,
    experiment_id: str,
    source: str,
) -> dict[str, str]:
    """Log a fitted model as run ``RidgeCV``: parameters, scores, data, code version and the model itself.

    :param table: the feature table that it was trained from
    :param source: the URI of ``table``
    :return: ``run_id`` and ``model_uri`` (``models:/m-...``)
    """
    ridge = model[-1]
    data = from_pandas(table, source=source, targets=TARGET, name="possum_features")
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name="RidgeCV", tags=_tags()) as run:
        mlflow.log_input(data, context="training")
        mlflow.log_params({**ridge.get_params(), "alphas": list(ridge.alphas), "alpha": ridge.alpha_})
        mlflow.log_params({f"{split}_rows": count for split, count in table[SPLIT].value_counts().items()})
        mlflow.log_metrics(dict(metrics))
        logged = _log_sklearn(model, table[RAW], "model")
    return {"run_id": run.info.run_id, "model_uri": f"models:/{logged.model_id}"}


def log_picture(picture: bytes, run_id: str, name: str) -> None:
    """Add a picture to a run's artifacts."""
    with connected(), TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(picture)
        MlflowClient().log_artifact(run_id, str(file))


def log_monitoring(
    run_id: str, version: str, metrics: Mapping[str, float], params: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, str]:
    """Log a look at a version as run ``Monitoring`` beside the run that trained it; each leads to the other by a tag.

    :param run_id: the run that trained the version
    :param files: artifacts by their names
    :return: ``run_id`` and ``url`` of the new run
    """
    with connected(), TemporaryDirectory() as folder:
        client = MlflowClient()
        experiment_id = client.get_run(run_id).info.experiment_id
        tags = _tags() | {"model_name": config.REGISTERED_MODEL, "model_version": version}
        with mlflow.start_run(experiment_id=experiment_id, run_name="Monitoring", tags=tags) as run:
            mlflow.log_params(dict(params))
            mlflow.log_metrics(dict(metrics))
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            mlflow.log_artifacts(folder)
        client.set_model_version_tag(config.REGISTERED_MODEL, version, "monitoring_run_id", run.info.run_id)
        url = f"{mlflow.get_tracking_uri()}/#/experiments/{experiment_id}/runs/{run.info.run_id}"
    return {"run_id": run.info.run_id, "url": url}


def load_version(version: str) -> Any:
    """Return a registered version as an MLflow pyfunc: raw rows in, lengths out."""
    with connected():
        return mlflow.pyfunc.load_model(f"models:/{config.REGISTERED_MODEL}/{version}")


def code_version() -> str:
    """Return the git commit of the code (``-dirty`` if files differ from it), else a hash of the code itself."""
    try:
        import git  # fails to import where there is no git program

        return git.Repo(config.INCLUDE.parent).git.describe(always=True, dirty=True, abbrev=40)
    except (ImportError, git.GitError):
        files = sorted(config.INCLUDE.rglob("*.py"))
        return f"sha256:{sha256(b''.join(file.read_bytes() for file in files)).hexdigest()}"


def _tags() -> dict[str, str]:
    """Lead from a run back to the code and to the Airflow task that made it."""
    names = ("dag_id", "dag_run_id", "task_id", "try_number")
    task = {f"airflow.{name}": os.environ.get(f"AIRFLOW_CTX_{name.upper()}", "") for name in names}
    return {"code_version": os.environ.get("CODE_VERSION") or code_version()} | task


def _log_sklearn(model: Pipeline, rows: pd.DataFrame, name: str) -> Any:
    predict = "predict" if hasattr(model, "predict") else "transform"
    with warnings.catch_warnings():
        # skops looks at every loaded module, and Airflow's old ones warn each time: a thousand lines in the log.
        warnings.simplefilter("ignore", DeprecatedImportWarning)
        return mlflow.sklearn.log_model(
            model,
            name=name,
            signature=infer_signature(rows, getattr(model, predict)(rows)),
            input_example=rows.head(3),
            pyfunc_predict_fn=predict,
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],  # the encoder keeps the type of its categories
            pip_requirements=[f"{package}=={version(package)}" for package in MODEL_PACKAGES],
        )
