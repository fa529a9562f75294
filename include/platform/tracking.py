"""Runs and models in MLflow: what each says of itself, its data and the code that made it."""

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
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.model import interval_regressor as possum_model
from include.model.interval_regressor import PARTS, PossumModel
from include.platform import champions
from include.platform.lineage import note_checks, note_model, note_run

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from include.data.checks import Inspection

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
    from include.data.table import hash_table

    scaler = transformer[-1]
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name="Scaler", tags=run_tags()) as run:
        mlflow.log_params({"input_sha256": hash_table(rows), "input_rows": len(rows)})
        means = zip(scaler.get_feature_names_out(), scaler.mean_, strict=True)
        mlflow.log_metrics({f"mean_{name}": float(mean) for name, mean in means})
        _log_sklearn(transformer, rows, "transformer")
    note_run(run.info.run_id)
    return run.info.run_id


def log_quality(inspection: Inspection, experiment_id: str) -> str:
    """Log what every check of a table found as run ``Data quality``: a table, and a count for each severity.

    :return: the run's id
    """
    results = inspection.to_frame()
    failures = results.groupby("severity")["failures"].sum()
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name="Data quality", tags=run_tags()) as run:
        mlflow.log_metrics({"rows": len(inspection.table)} | {f"{name}_faults": n for name, n in failures.items()})
        mlflow.log_table(results, "data_quality.json")
    note_run(run.info.run_id)
    note_checks(inspection)
    return run.info.run_id


def log_training(
    model: PossumModel,
    table: pd.DataFrame,
    metrics: Mapping[str, float],
    *,
    selected: Mapping[str, Any],
    experiment_id: str,
    source: str,
) -> dict[str, str]:
    """Log a fitted model as a run of the candidate's name: parameters, scores, data, code version and the model.

    The parameters ``estimator`` and ``hyper_parameters`` (JSON) are all it takes to fit such a model again.

    :param table: the feature table that it was trained from
    :param selected: the candidate: ``name``, ``estimator``, ``hyper_parameters``, ``reason`` of the choice
    :param source: the URI of ``table``
    :return: ``run_id``, ``model_uri`` (``models:/m-...``) and ``artifact_sha256``, the hash of the model's files
    """
    from include.model.training import describe_model

    data = from_pandas(table, source=source, targets=TARGET, name="possum_features")
    tags = {**run_tags(), "candidate": selected["name"], "selection": selected["reason"]}
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name=selected["name"], tags=tags) as run:
        mlflow.log_input(data, context="training")
        mlflow.log_params(describe_model(model.model, selected))
        mlflow.log_params({f"{split}_rows": count for split, count in table[SPLIT].value_counts().items()})
        logged = _log_possum_model(model, table[RAW])
        # After the model: it would ask for the history of each metric that is there before.
        mlflow.log_metrics(dict(metrics), model_id=logged.model_id)
    model_uri = f"models:/{logged.model_id}"
    hook = MLflowPyfuncHook(MLFLOW_CONN_ID)
    note_model(model_uri, hook.server.base_url)
    note_run(run.info.run_id)
    return {"run_id": run.info.run_id, "model_uri": model_uri, HASH_TAG: hook.hash_model(model_uri)}


def log_evaluation(run_id: str, rows: pd.DataFrame, metrics: Mapping[str, float], files: Mapping[str, bytes]) -> None:
    """Add what a model did on the holdout animals to the run that trained it; done twice, it is there once.

    :param rows: the animals, with the columns ``taill`` and ``prediction`` (cm), for ``mlflow.models.evaluate``
    :param metrics: what MLflow does not compute itself
    :param files: artifacts, content by name
    """
    with connected(), mlflow.start_run(run_id=run_id):
        mlflow.models.evaluate(
            data=rows,
            targets=TARGET,
            predictions="prediction",
            model_type="regressor",
            evaluators="regressor",  # the default ones complain that SHAP is not installed
            evaluator_config={"metric_prefix": "evaluation_"},
        )
        mlflow.log_metrics(dict(metrics))
    log_files(files, run_id)


def log_files(files: Mapping[str, bytes], run_id: str) -> None:
    """Add files to a run's artifacts, replacing those of the same name."""
    with connected(), TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        MlflowClient().log_artifacts(run_id, folder)


def log_monitoring(
    run_id: str, version: str, metrics: Mapping[str, float], params: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, str]:
    """Log a look at a version as run ``Monitoring`` beside the run that trained it; each leads to the other by a tag.

    :param run_id: the run that trained the version
    :param files: artifacts by their names
    :return: ``run_id`` and ``url`` of the new run
    """
    with connected():
        client = MlflowClient()
        experiment_id = client.get_run(run_id).info.experiment_id
        tags = run_tags() | {"model_name": config.REGISTERED_MODEL, "model_version": version}
        with mlflow.start_run(experiment_id=experiment_id, run_name="Monitoring", tags=tags) as run:
            mlflow.log_params(dict(params))
            mlflow.log_metrics(dict(metrics))
            log_files(files, run.info.run_id)
        client.set_model_version_tag(config.REGISTERED_MODEL, version, "monitoring_run_id", run.info.run_id)
        url = f"{mlflow.get_tracking_uri()}/#/experiments/{experiment_id}/runs/{run.info.run_id}"
    return {"run_id": run.info.run_id, "url": url}


def load_version(version: str) -> Any:
    """Return a registered version as an MLflow pyfunc: raw rows in, lengths out.

    :raises MLflowError: its files are not those that were registered
    """
    with connected(), TemporaryDirectory() as folder:
        local = MLflowPyfuncHook(MLFLOW_CONN_ID).fetch_model(champions.model_uri(version), Path(folder))
        return mlflow.pyfunc.load_model(str(local))


def code_version() -> str:
    """Return the git commit of the code (``-dirty`` if files differ from it), else a hash of the code itself."""
    try:
        import git  # fails to import where there is no git program

        return git.Repo(config.INCLUDE.parent).git.describe(always=True, dirty=True, abbrev=40)
    except (ImportError, git.GitError):
        files = sorted(config.INCLUDE.rglob("*.py"))
        return f"sha256:{sha256(b''.join(file.read_bytes() for file in files)).hexdigest()}"


def run_tags() -> dict[str, str]:
    """Lead from a run back to the code and to the Airflow task that made it."""
    names = ("dag_id", "dag_run_id", "task_id", "try_number")
    task = {f"airflow.{name}": os.environ.get(f"AIRFLOW_CTX_{name.upper()}", "") for name in names}
    return {"code_version": os.environ.get("CODE_VERSION") or code_version()} | task


def _log_sklearn(model: Pipeline, rows: pd.DataFrame, name: str) -> None:
    with _quiet():
        mlflow.sklearn.log_model(
            model,
            name=name,
            signature=infer_signature(rows, model.transform(rows)),
            input_example=rows.head(3),
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],  # the encoder keeps the type of its categories
            pip_requirements=_requirements(),
        )


def _log_possum_model(model: PossumModel, rows: pd.DataFrame) -> Any:
    with _quiet(), TemporaryDirectory() as folder:
        model.save(parts := Path(folder) / f"{PARTS}.skops")
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=possum_model.__file__,  # the code itself: no pickle, and nothing of this project to install
            artifacts={PARTS: str(parts)},
            signature=infer_signature(rows, model.predict(None, rows)),
            input_example=rows.head(3),
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    return [f"{package}=={version(package)}" for package in MODEL_PACKAGES]


@contextmanager
def _quiet() -> Iterator[None]:
    """Skops looks at every loaded module, and Airflow's old ones warn each time: a thousand lines in the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecatedImportWarning)
        yield
