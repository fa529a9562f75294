import contextlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import git
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType

from include.data.features import build_transformer
from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.model import interval_regressor
from include.model.interval_regressor import PARTS
from include.model.training import train_model
from include.problem import PROBLEM
from include.services import champions, storage, tracking

from ...network import free_port
from ...toy import HOUSES

INPUTS = PROBLEM.inputs
CONTEXT = {
    "AIRFLOW_CTX_DAG_ID": "train",
    "AIRFLOW_CTX_DAG_RUN_ID": "manual__1",
    "AIRFLOW_CTX_TASK_ID": "train_model",
    "AIRFLOW_CTX_TRY_NUMBER": "2",
}


@pytest.fixture(scope="module")
def trained(client: MlflowClient, experiment_id: str, project_table: pd.DataFrame) -> SimpleNamespace:
    """A model trained on the project's table and logged, in the environment of an Airflow task."""
    rows = project_table[INPUTS]
    model, _ = train_model(project_table, PROBLEM, "RidgeCV", {"alphas": [0.5, 2.0]})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CONTEXT.items():
            patch.setenv(name, value)
        with tracking.start_run("RidgeCV", experiment_id, {"candidate": "RidgeCV"}) as run:
            logged = tracking.log_model(model, rows)
    return SimpleNamespace(
        rows=rows, model=model, run=client.get_run(run.info.run_id), uri=f"models:/{logged.model_id}"
    )


@pytest.fixture(scope="module")
def artifacts(trained: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the logged model."""
    return Path(mlflow.artifacts.download_artifacts(trained.uri, dst_path=str(tmp_path_factory.mktemp("model"))))


def test_the_logged_model_requires_the_installed_packages_with_a_lock_of_all_that_they_need(artifacts: Path) -> None:
    requirements = (artifacts / "requirements.txt").read_text().splitlines()
    locked = (artifacts / "constraints.txt").read_text().splitlines()

    installed = {f"{name}=={version(name)}" for name in ("boto3", "pandas", "scikit-learn", "skops")}
    assert installed | {"-c constraints.txt"} <= set(requirements)
    assert {"joblib", "botocore"} <= {line.partition("==")[0] for line in locked}  # which scikit-learn and boto3 need
    assert all("--hash=sha256:" in line for line in locked)


def test_a_model_of_columns_with_odd_names_and_missing_cells_is_logged_too(
    client: MlflowClient, experiment_id: str, houses: pd.DataFrame
) -> None:
    model, _ = train_model(houses, HOUSES, "RidgeCV", {"alphas": [1.0]})
    rows = houses[HOUSES.inputs].assign(**{"lambda": np.nan})
    rows["index"] = rows["index"].where(rows.index > 0)
    with tracking.start_run("Houses", experiment_id):
        logged = tracking.log_model(model, rows)

    predicted = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(rows)

    pd.testing.assert_frame_equal(predicted, model.predict(None, rows), rtol=1e-12)


@pytest.fixture
def registered(trained: SimpleNamespace, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A version of the model with the hash of its files, as ``train`` registers it."""
    monkeypatch.setattr(champions, "MODEL", name := "hashed")
    client.create_registered_model(name)
    tags = [{"key": HASH_TAG, "value": MLflowPyfuncHook().hash_model(trained.uri)}]
    hook = MLflowClientHook()
    yield hook.create_model_version(name, trained.uri, run_id=trained.run.info.run_id, tags=tags)["version"]
    client.delete_registered_model(name)


def test_a_registered_version_is_loaded_unless_its_files_were_changed(
    registered: str, trained: SimpleNamespace
) -> None:
    source = storage.artifact_uri(mlflow.models.get_model_info(trained.uri).artifact_path)
    file = next(uri for uri in storage.list_objects(source) if uri.endswith("interval_regressor.py"))
    content = storage.read_bytes(file)
    predicted = tracking.load_model(champions.model_uri(registered)).predict(trained.rows)
    assert predicted.columns.tolist() == ["prediction", "lower", "upper", "unseen"]

    storage.write_bytes(content + b"# changed\n", file)
    try:
        with pytest.raises(MLflowError, match="are not those that were registered"):
            tracking.load_model(champions.model_uri(registered))
    finally:
        storage.write_bytes(content, file)


def test_the_signature_has_the_raw_columns_and_the_predictions(trained: SimpleNamespace) -> None:
    signature = mlflow.models.get_model_info(trained.uri).signature
    types = [DataType.string if name in PROBLEM.categories else DataType.double for name in INPUTS]

    assert signature.inputs.input_names() == INPUTS
    assert signature.inputs.input_types() == types
    outputs = {"prediction": DataType.double, "lower": DataType.double, "upper": DataType.double}
    assert signature.outputs.input_dict() == {
        name: ColSpec(kind, name) for name, kind in (outputs | {"unseen": DataType.string}).items()
    }


def test_the_logged_model_needs_nothing_of_this_project(
    trained: SimpleNamespace, artifacts: Path, tmp_path: Path
) -> None:
    trained.rows.to_parquet(tmp_path / "rows.parquet")
    program = (
        "import sys, mlflow, pandas; "
        "predicted = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.read_parquet('rows.parquet')); "
        "predicted.to_parquet('predicted.parquet'); print(*(name for name in sys.modules if 'include' in name))"
    )
    command = [sys.executable, "-c", program, str(artifacts)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)

    assert done.stdout == "\n"
    predicted = pd.read_parquet(tmp_path / "predicted.parquet")
    pd.testing.assert_frame_equal(predicted, trained.model.predict(None, trained.rows), rtol=1e-12)


def test_the_input_example_is_three_raw_rows(trained: SimpleNamespace, artifacts: Path) -> None:
    text = (artifacts / "input_example.json").read_text()
    example = json.loads(text, parse_constant=lambda _: None)  # MLflow writes a missing number as NaN
    expected = json.loads(trained.rows.head(3).to_json(orient="split", index=False))

    assert example == expected


def test_the_model_is_stored_by_skops_and_as_code_without_any_pickle(artifacts: Path) -> None:
    flavor = mlflow.models.Model.load(artifacts).flavors["python_function"]
    with zipfile.ZipFile(artifacts / "artifacts" / f"{PARTS}.skops") as stored:
        inside = {Path(name).suffix for name in stored.namelist()}

    assert (artifacts / flavor["model_code_path"]).read_bytes() == Path(interval_regressor.__file__).read_bytes()
    assert inside <= {".json", ".npy"}
    assert [file.name for file in artifacts.rglob("*") if file.suffix in (".pkl", ".pickle", ".joblib")] == []


def test_a_run_leads_to_the_code_and_to_the_airflow_task(trained: SimpleNamespace) -> None:
    tags = trained.run.data.tags

    assert (trained.run.info.run_name, tags["candidate"]) == ("RidgeCV", "RidgeCV")
    assert tags["code_version"] == tracking.code_version()
    assert {name: value for name, value in tags.items() if name.startswith("airflow.")} == {
        "airflow.dag_id": "train",
        "airflow.dag_run_id": "manual__1",
        "airflow.task_id": "train_model",
        "airflow.try_number": "2",
    }


def test_the_logged_transformer_computes_the_same_features_and_is_stored_by_skops(
    client: MlflowClient, experiment_id: str, houses: pd.DataFrame
) -> None:
    rows = houses[HOUSES.inputs]
    transformer = build_transformer(HOUSES).fit(rows)
    with tracking.start_run("Scaler", experiment_id) as run:
        tracking.log_transformer(transformer, rows)

    uri = f"models:/{client.get_run(run.info.run_id).outputs.model_outputs[0].model_id}"
    np.testing.assert_array_equal(mlflow.sklearn.load_model(uri).transform(rows), transformer.transform(rows))
    flavor = mlflow.models.get_model_info(uri).flavors["sklearn"]
    assert (flavor["serialization_format"], flavor["skops_trusted_types"]) == ("skops", ["numpy.dtype"])


def test_a_picture_becomes_an_artifact_of_the_run_and_replaces_an_earlier_one(trained: SimpleNamespace) -> None:
    tracking.log_files({"figure.png": b"before"}, trained.run.info.run_id)
    tracking.log_files({"figure.png": b"\x89PNG figure"}, trained.run.info.run_id)

    uri = f"{trained.run.info.artifact_uri}/figure.png"
    assert Path(mlflow.artifacts.download_artifacts(uri)).read_bytes() == b"\x89PNG figure"


def test_the_server_is_known_inside_the_block_only(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    before = dict(os.environ)
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"])

    with contextlib.suppress(ZeroDivisionError), tracking.connected():
        inside = dict(os.environ)
        raise ZeroDivisionError

    assert inside["MLFLOW_TRACKING_URI"] == connection["host"]
    assert inside["MLFLOW_TRACKING_PASSWORD"] == connection["password"]
    assert dict(os.environ) == before


@pytest.mark.parametrize("change", ["host", "password"], ids=["server down", "wrong password"])
def test_a_server_that_cannot_be_used_is_named_within_a_minute(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    wrong = {"host": f"http://127.0.0.1:{free_port()}", "password": "not-the-password"}[change]
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"]) | {change: wrong}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(connection))
    started = time.monotonic()

    with pytest.raises(Exception, match="mlflow_default") as caught:
        tracking.log_files({"figure.png": b"figure"}, "run")

    assert connection["host"] in str(caught.value)
    assert "not-the-password" not in str(caught.value)
    assert time.monotonic() - started < 60


def test_a_retry_ends_the_run_of_the_try_that_was_killed(
    client: MlflowClient, experiment_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CONTEXT.items():
        monkeypatch.setenv(name, value)
    killed, other = (
        client.create_run(experiment_id, tags=tracking.run_tags(), run_name=name).info.run_id
        for name in ("Scaler", "Data quality")
    )
    with tracking.start_run("Scaler", experiment_id) as run:
        pass

    statuses = [client.get_run(run_id).info.status for run_id in (killed, other, run.info.run_id)]
    assert statuses == ["KILLED", "RUNNING", "FINISHED"]
    client.set_terminated(other)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one module."""
    monkeypatch.setattr(tracking, "INCLUDE", include := tmp_path / "include")
    monkeypatch.delenv("CODE_VERSION", raising=False)
    include.mkdir()
    (include / "model.py").write_text("alpha = 1\n")
    return tmp_path


def test_the_code_version_is_the_commit_and_that_of_changed_code_is_dirty(project: Path) -> None:
    repository = git.Repo.init(project)
    repository.git.add(all=True)
    author = git.Actor("Ann", "ann@example.org")
    commit = repository.index.commit("Add the model", author=author, committer=author).hexsha
    assert tracking.code_version() == commit

    (project / "include" / "model.py").write_text("alpha = 2\n")

    assert tracking.code_version() == f"{commit}-dirty"


def test_without_a_repository_the_version_is_a_hash_of_the_code(project: Path) -> None:
    first = tracking.code_version()
    (project / "include" / "model.py").write_text("alpha = 2\n")

    assert first.startswith("sha256:")
    assert tracking.code_version().startswith("sha256:")
    assert tracking.code_version() != first


def test_a_deployment_may_set_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_VERSION", "v1.2")

    assert tracking.run_tags()["code_version"] == "v1.2"
