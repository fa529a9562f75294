from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import git
import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType

from include import config
from include.config import RAW
from include.data.checks import inspect
from include.data.features import build_transformer
from include.data.table import hash_table, read_possums
from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.model.training import train_model
from include.platform import storage, tracking

SOURCE = "s3://data/features/manual-1/features.parquet"
CONTEXT = {
    "AIRFLOW_CTX_DAG_ID": "train",
    "AIRFLOW_CTX_DAG_RUN_ID": "manual__1",
    "AIRFLOW_CTX_TASK_ID": "train_model",
    "AIRFLOW_CTX_TRY_NUMBER": "2",
}


@pytest.fixture(scope="module")
def experiment_id(client: MlflowClient) -> str:
    return client.create_experiment("tracking")


@pytest.fixture(scope="module")
def trained(
    client: MlflowClient, experiment_id: str, with_features: Callable[[pd.DataFrame], pd.DataFrame]
) -> SimpleNamespace:
    """A model trained on the real table and logged, in the environment of an Airflow task."""
    table = with_features(read_possums(config.POSSUM_CSV))
    selected = {"name": "Champion", "estimator": "RidgeCV", "hyper_parameters": {"alphas": [0.5, 2.0]}}
    model, scores = train_model(table, selected["hyper_parameters"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CONTEXT.items():
            patch.setenv(name, value)
        logged = tracking.log_training(
            model,
            table,
            scores,
            selected={**selected, "reason": "the only one"},
            experiment_id=experiment_id,
            source=SOURCE,
        )
    run = client.get_run(logged["run_id"])
    return SimpleNamespace(
        table=table, model=model, scores=scores, run=run, uri=logged["model_uri"], sha256=logged["artifact_sha256"]
    )


@pytest.fixture(scope="module")
def artifacts(trained: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the logged model."""
    return Path(mlflow.artifacts.download_artifacts(trained.uri, dst_path=str(tmp_path_factory.mktemp("model"))))


def test_the_logged_model_predicts_raw_rows_as_the_fitted_one_does(trained: SimpleNamespace) -> None:
    rows = trained.table[RAW]

    predicted = mlflow.pyfunc.load_model(trained.uri).predict(rows)

    pd.testing.assert_frame_equal(predicted, trained.model.predict(None, rows), rtol=1e-12)


def test_the_logged_model_refuses_rows_that_lack_a_column(trained: SimpleNamespace) -> None:
    model = mlflow.pyfunc.load_model(trained.uri)

    with pytest.raises(MlflowException, match="belly"):
        model.predict(trained.table[RAW].drop(columns="belly"))


@pytest.fixture
def registered(trained: SimpleNamespace, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A version of the model that carries the hash of its files, as ``train`` registers it."""
    monkeypatch.setattr(config, "REGISTERED_MODEL", name := "hashed")
    client.create_registered_model(name)
    hook, tags = MLflowClientHook(), [{"key": "artifact_sha256", "value": trained.sha256}]
    yield hook.create_model_version(name, trained.uri, run_id=trained.run.info.run_id, tags=tags)["version"]
    client.delete_registered_model(name)


def test_a_registered_version_is_loaded_while_its_files_are_as_they_were(
    registered: str, trained: SimpleNamespace
) -> None:
    predicted = tracking.load_version(registered).predict(trained.table[RAW])

    assert predicted.columns.tolist() == ["prediction", "lower", "upper"]


def test_a_version_whose_files_were_changed_is_not_loaded(registered: str, trained: SimpleNamespace) -> None:
    source = storage.artifact_uri(mlflow.models.get_model_info(trained.uri).artifact_path)
    file = next(uri for uri in storage.list_objects(source) if uri.endswith("possum_model.py"))
    content = storage.read_bytes(file)
    storage.write_bytes(content + b"# changed\n", file)
    try:
        with pytest.raises(MLflowError, match="are not those that were registered"):
            tracking.load_version(registered)
    finally:
        storage.write_bytes(content, file)


def test_the_model_needs_no_pickle(trained: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    assert len(mlflow.pyfunc.load_model(trained.uri).predict(trained.table[RAW])) == len(trained.table)


def test_the_signature_names_the_raw_columns_and_the_predictions(trained: SimpleNamespace) -> None:
    signature = mlflow.models.get_model_info(trained.uri).signature

    assert signature.inputs.input_names() == RAW
    assert signature.inputs.input_types()[:4] == [DataType.long, DataType.string, DataType.string, DataType.double]
    assert signature.outputs.input_dict() == {
        name: ColSpec(DataType.double, name) for name in ("prediction", "lower", "upper")
    }


def test_the_logged_model_needs_nothing_of_this_project(
    trained: SimpleNamespace, artifacts: Path, tmp_path: Path
) -> None:
    trained.table[RAW].to_parquet(tmp_path / "rows.parquet")
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
    pd.testing.assert_frame_equal(predicted, trained.model.predict(None, trained.table[RAW]), rtol=1e-12)


def test_the_input_example_is_three_raw_rows(trained: SimpleNamespace, artifacts: Path) -> None:
    example = json.loads((artifacts / "input_example.json").read_text())

    assert example == {"columns": RAW, "data": trained.table[RAW].head(3).to_numpy().tolist()}


def test_the_model_is_stored_by_skops_and_as_code_without_any_pickle(artifacts: Path) -> None:
    flavor = mlflow.models.Model.load(artifacts).flavors["python_function"]
    with zipfile.ZipFile(artifacts / "artifacts" / "parts.skops") as stored:
        inside = {Path(name).suffix for name in stored.namelist()}

    assert Path(flavor["model_code_path"]).name == "possum_model.py"
    assert inside <= {".json", ".npy"}
    assert [file.name for file in artifacts.rglob("*") if file.suffix in (".pkl", ".pickle", ".joblib")] == []


def test_the_models_requirements_name_what_is_installed(artifacts: Path) -> None:
    requirements = (artifacts / "requirements.txt").read_text().splitlines()

    assert {f"{name}=={version(name)}" for name in ("boto3", "pandas", "scikit-learn", "skops")} <= set(requirements)


def test_the_run_holds_the_parameters(trained: SimpleNamespace) -> None:
    params = trained.run.data.params

    assert trained.run.info.run_name == trained.run.data.tags["candidate"] == "Champion"
    assert (params["estimator"], params["alphas"]) == ("RidgeCV", "[0.5, 2.0]")
    assert json.loads(params["hyper_parameters"]) == {"alphas": [trained.model.model[-1].alpha_]}
    assert (params["train_rows"], params["holdout_rows"], params["fit_intercept"]) == ("81", "23", "True")


def test_the_run_holds_the_scores(trained: SimpleNamespace) -> None:
    assert trained.run.data.metrics == pytest.approx(trained.scores)
    logged = mlflow.get_logged_model(trained.uri.removeprefix("models:/"))
    assert {metric.key for metric in logged.metrics} == set(trained.scores)


def test_the_run_leads_to_the_table_that_it_was_trained_from(trained: SimpleNamespace) -> None:
    (used,) = trained.run.inputs.dataset_inputs

    assert json.loads(used.dataset.source) == {"uri": SOURCE}
    assert json.loads(used.dataset.profile)["num_rows"] == 104
    assert used.tags[0].value == "training"


def test_the_run_leads_to_the_code_and_to_the_airflow_task(trained: SimpleNamespace) -> None:
    tags = trained.run.data.tags

    assert tags["code_version"] == tracking.code_version()
    assert {name: value for name, value in tags.items() if name.startswith("airflow.")} == {
        "airflow.dag_id": "train",
        "airflow.dag_run_id": "manual__1",
        "airflow.task_id": "train_model",
        "airflow.try_number": "2",
    }


def test_the_fitted_transformer_is_logged_with_its_means_and_its_inputs_hash(
    client: MlflowClient, experiment_id: str, possums: pd.DataFrame
) -> None:
    rows = possums[RAW].head(20)
    transformer = build_transformer().fit(rows)

    run = client.get_run(tracking.log_transformer(transformer, rows, experiment_id))

    assert run.info.run_name == "Scaler"
    assert run.data.params == {"input_sha256": hash_table(rows), "input_rows": "20"}
    assert run.data.metrics["mean_hdlngth"] == pytest.approx(rows["hdlngth"].mean())
    assert len(run.data.metrics) == transformer[-1].n_features_in_


def test_the_logged_transformer_computes_the_same_features(
    client: MlflowClient, experiment_id: str, possums: pd.DataFrame
) -> None:
    rows = possums[RAW]
    transformer = build_transformer().fit(rows)

    run = client.get_run(tracking.log_transformer(transformer, rows, experiment_id))

    loaded = mlflow.sklearn.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    pd.testing.assert_frame_equal(loaded.transform(rows), transformer.transform(rows))


def test_a_picture_becomes_an_artifact_of_the_run(trained: SimpleNamespace) -> None:
    tracking.log_files({"possum.png": b"\x89PNG possum"}, trained.run.info.run_id)

    uri = f"{trained.run.info.artifact_uri}/possum.png"
    assert Path(mlflow.artifacts.download_artifacts(uri)).read_bytes() == b"\x89PNG possum"


def test_the_server_is_known_inside_the_block_only(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    before = dict(os.environ)
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"])

    with tracking.connected():
        inside = dict(os.environ)

    assert inside["MLFLOW_TRACKING_URI"] == connection["host"]
    assert inside["MLFLOW_TRACKING_PASSWORD"] == connection["password"]
    assert dict(os.environ) == before


@pytest.mark.usefixtures("services")
def test_an_error_inside_the_block_leaves_no_trace_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    before = dict(os.environ)

    with pytest.raises(ZeroDivisionError), tracking.connected():
        1 / 0  # noqa: B018

    assert dict(os.environ) == before


@pytest.mark.parametrize("change", ["host", "password"], ids=["server down", "wrong password"])
def test_a_server_that_cannot_be_used_is_named_within_a_minute(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        wrong = {"host": f"http://127.0.0.1:{probe.getsockname()[1]}", "password": "not-the-password"}[change]
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"]) | {change: wrong}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(connection))
    started = time.monotonic()

    with pytest.raises(Exception, match="mlflow_default") as caught:
        tracking.log_files({"possum.png": b"possum"}, "run")

    assert connection["host"] in str(caught.value)
    assert "not-the-password" not in str(caught.value)
    assert time.monotonic() - started < 60


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one module."""
    monkeypatch.setattr(config, "INCLUDE", tmp_path / "include")
    config.INCLUDE.mkdir()
    (config.INCLUDE / "model.py").write_text("alpha = 1\n")
    return tmp_path


@pytest.fixture
def commit(project: Path) -> str:
    """The project's first commit."""
    repository = git.Repo.init(project)
    repository.git.add(all=True)
    author = git.Actor("Possum", "possum@example.org")
    return repository.index.commit("Add the model", author=author, committer=author).hexsha


@pytest.mark.usefixtures("project")
def test_the_code_version_is_the_commit(commit: str) -> None:
    assert tracking.code_version() == commit


def test_the_version_of_changed_code_is_dirty(project: Path, commit: str) -> None:
    (project / "include" / "model.py").write_text("alpha = 2\n")

    assert tracking.code_version() == f"{commit}-dirty"


def test_without_a_repository_the_version_is_a_hash_of_the_code(project: Path) -> None:
    first = tracking.code_version()
    (project / "include" / "model.py").write_text("alpha = 2\n")

    assert first.startswith("sha256:")
    assert tracking.code_version().startswith("sha256:")
    assert tracking.code_version() != first


def test_a_deployment_may_name_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_VERSION", "v1.2")

    assert tracking.run_tags()["code_version"] == "v1.2"


def test_what_every_check_of_a_table_found_is_a_run_with_a_table(
    services: dict[str, Any], buckets: None, experiment_id: str
) -> None:
    inspection = inspect(pd.read_csv(config.POSSUM_CSV).assign(eye=30.0))
    run_id = tracking.log_quality(inspection, experiment_id)
    with tracking.connected():
        run = MlflowClient().get_run(run_id)
        table = MlflowClient().load_table(experiment_id, "data_quality.json", [run_id])
    assert run.info.run_name == "Data quality"
    assert (run.data.metrics["rows"], run.data.metrics["warning_faults"]) == (104, 104)
    pd.testing.assert_frame_equal(table, inspection.to_frame(), check_dtype=False)
