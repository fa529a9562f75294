"""MLflow's client library: its connection, the tags of runs, artifacts and models."""

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
import yaml  # type: ignore[import-untyped]
from airflow.utils.deprecation_tools import DeprecatedImportWarning
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.digest_utils import compute_pandas_digest
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature
from mlflow.tracking import MlflowClient

from include.mlflow_provider.hooks.base import MLflowBaseHook
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.model import interval_regressor
from include.model.interval_regressor import PARTS, IntervalRegressor
from include.services import samples
from include.services.lineage import note_run
from include.services.model_lock import lock_requirements
from include.settings import INCLUDE, MLFLOW_CONN_ID

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

# What a logged model needs to predict in any environment: itself, the tables it reads and their storage.
MODEL_PACKAGES = ("mlflow-skinny", "scikit-learn", "skops", "numpy", "scipy", "pandas", "pyarrow", "boto3")

OUT_OF_FOLD_ERRORS = "out_of_fold_errors.csv"  # artifact of the run that trained a model: column error, absolute


class TrackingError(RuntimeError):
    """A request to MLflow failed; the message names the connection and the server."""


class TableDataset(PandasDataset):
    """A Parquet object as an MLflow dataset, of which only the first rows are read."""

    def __init__(self, uri: str, target: str | None = None, name: str | None = None) -> None:
        head, self._total = samples.read_head(uri)
        super().__init__(head, resolve_dataset_source(uri), target, name)

    @property
    def profile(self) -> dict[str, int]:
        """The numbers of rows and cells."""
        return {"num_rows": self._total, "num_elements": self._total * self.df.shape[1]}

    def _compute_digest(self) -> str:
        return compute_pandas_digest(_Whole(self.df, self._total))


class _Whole:
    """The part of a table's interface that :func:`compute_pandas_digest` uses."""

    def __init__(self, head: pd.DataFrame, total: int) -> None:
        self.head, self.map, self.columns, self._total = head.head, head.map, head.columns, total

    def __len__(self) -> int:
        return self._total


@contextmanager
def connected(conn_id: str = MLFLOW_CONN_ID) -> Iterator[None]:
    """Point MLflow's client library at the server of a connection, inside of this block only.

    :raises TrackingError: MLflow does not answer, or refuses a request
    """
    hook = MLflowBaseHook(conn_id)
    try:
        with hook.environment():
            yield
    except (MlflowException, requests.RequestException) as error:
        raise TrackingError(f"MLflow on {hook.server.base_url} (connection {conn_id}): {error}") from error


@contextmanager
def start_run(name: str, experiment_id: str, tags: Mapping[str, str] | None = None) -> Iterator[mlflow.ActiveRun]:
    """Run the block inside a new run that is tagged with the code's version and the Airflow task.

    A run of an earlier try of the task that is still RUNNING becomes KILLED: the try was killed.
    """
    with connected():
        _end_killed_tries(name, experiment_id)
        with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=run_tags() | dict(tags or {})) as run:
            yield run
    note_run(run.info.run_id)


def log_files(files: Mapping[str, bytes], run_id: str) -> None:
    """Add files (content by name) to a run's artifacts, replacing those of the same name."""
    with connected(), TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        MlflowClient().log_artifacts(run_id, folder)


def read_artifact(run_id: str, name: str, conn_id: str = MLFLOW_CONN_ID) -> bytes | None:
    """Return the content of a file among a run's artifacts, or None if it does not exist."""
    with connected(conn_id), TemporaryDirectory() as folder:
        if name not in {file.path for file in MlflowClient().list_artifacts(run_id)}:
            return None
        return Path(MlflowClient().download_artifacts(run_id, name, folder)).read_bytes()


def log_transformer(transformer: Pipeline, rows: pd.DataFrame) -> None:
    """Log a fitted scikit-learn transformer to the active run, stored with skops."""
    with _ignored_import_warnings():
        mlflow.sklearn.log_model(
            transformer,
            name="transformer",
            signature=infer_signature(rows, transformer.transform(rows)),
            input_example=rows.head(3),
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],  # the encoder keeps the type of its categories
            pip_requirements=_requirements(),
        )


def log_model(model: IntervalRegressor, rows: pd.DataFrame) -> Any:
    """Log a fitted model to the active run: its code as a file, what was fitted as skops.

    :param rows: raw rows, for signature and example
    :return: MLflow's ``ModelInfo``
    """
    example = rows.head(3)
    with _ignored_import_warnings(), TemporaryDirectory() as folder:
        model.save(parts := Path(folder) / f"{PARTS}.skops")
        lock = Path(folder) / "constraints.txt"
        lock.write_text(lock_requirements(_requirements()))
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=interval_regressor.__file__,  # models from code: no pickle, and no need to install the project
            artifacts={PARTS: str(parts)},
            signature=infer_signature(rows, model.predict(None, example)),
            input_example=example,
            # All packages with their hashes, not only those that are named: the provider installs from it.
            pip_requirements=[*_requirements(), *([f"-c {lock}"] if lock.stat().st_size else [])],
        )


def read_inputs(model_uri: str) -> dict[str, str]:
    """Return the type of each input of a model, from its signature; nothing if it has none."""
    hook = MLflowPyfuncHook(MLFLOW_CONN_ID)
    # Not by get_model_info, which asks this server for the logged model of a version that comes from another one.
    described = yaml.safe_load(hook.read_model_file(hook.get_model_artifact_uri(model_uri), "MLmodel"))
    signature = Model.from_dict(described).signature
    return {column.name: column.type.name for column in signature.inputs} if signature else {}


def load_model(model_uri: str) -> Any:
    """Return a model as an MLflow pyfunc: raw rows in, predictions out.

    :raises MLflowError: the files are not those that were registered
    """
    with connected(), TemporaryDirectory() as folder:
        local = MLflowPyfuncHook(MLFLOW_CONN_ID).fetch_model(model_uri, Path(folder))
        return mlflow.pyfunc.load_model(str(local))


def code_version() -> str:
    """Return ``CODE_VERSION``, else the git commit (``-dirty`` if files differ), else a hash of the code."""
    if given := os.environ.get("CODE_VERSION"):
        return given
    try:
        import git  # fails to import where there is no git program

        return git.Repo(INCLUDE.parent).git.describe(always=True, dirty=True, abbrev=40)
    except (ImportError, git.GitError):
        files = sorted(INCLUDE.rglob("*.py"))
        return f"sha256:{sha256(b''.join(file.read_bytes() for file in files)).hexdigest()}"


def run_tags() -> dict[str, str]:
    """Return tags that lead from a run to the code and the Airflow task that logged it."""
    names = ("dag_id", "dag_run_id", "task_id", "try_number")
    task = {f"airflow.{name}": os.environ.get(f"AIRFLOW_CTX_{name.upper()}", "") for name in names}
    return {"code_version": code_version()} | task


def _end_killed_tries(name: str, experiment_id: str) -> None:
    same = {name: value for name, value in run_tags().items() if name in ("airflow.dag_run_id", "airflow.task_id")}
    if all(same.values()):
        conditions = [f"tags.`{tag}` = '{value}'" for tag, value in same.items()]
        query = " and ".join(["attributes.status = 'RUNNING'", f"attributes.run_name = '{name}'", *conditions])
        for run in MlflowClient().search_runs([experiment_id], query):
            MlflowClient().set_terminated(run.info.run_id, "KILLED")


def _requirements() -> list[str]:
    return [f"{package}=={version(package)}" for package in MODEL_PACKAGES]


@contextmanager
def _ignored_import_warnings() -> Iterator[None]:
    """Ignore a thousand deprecation warnings of Airflow's modules: skops touches every loaded module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecatedImportWarning)
        yield
