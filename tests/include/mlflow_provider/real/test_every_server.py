"""The provider on each server that people may have: operators, hooks, artifacts, and the ``mlflow`` library."""

from __future__ import annotations

import mlflow
import pytest

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.operators.registry import (
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    DeleteModelVersionOperator,
    DeleteRegisteredModelOperator,
    GetLatestModelVersionsOperator,
    GetModelVersionOperator,
    GetRegisteredModelOperator,
    TransitionModelVersionStageOperator,
)


def run(operator_class, **arguments):
    return operator_class(task_id="task", mlflow_conn_id="real", **arguments).execute({})


@pytest.fixture
def experiment(real, name):
    return real.create_experiment(name)


@pytest.fixture
def finished(real, experiment):
    """A run with an artifact ``model/MLmodel``, logged by the ``mlflow`` library."""
    with real.environment(), mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_text("flavors", "model/MLmodel")
    return real.get_run(run.info.run_id)


def test_the_connection_test_says_yes(real):
    assert real.test_connection() == (True, f"MLflow answers at {real.base_url} and knows this login")


def test_operators_take_a_model_from_creation_to_deletion(finished, name):
    info = finished["info"]
    source = {"source": f"{info['artifact_uri']}/model", "run_id": info["run_id"]}
    model = run(CreateRegisteredModelOperator, name=name, description="tails", exist_ok=True)
    assert run(GetRegisteredModelOperator, name=name) == model
    created = run(CreateModelVersionOperator, name=name, **source)
    assert run(CreateModelVersionOperator, name=name, **source, exist_ok=True) == created
    moved = run(TransitionModelVersionStageOperator, name=name, version="1", stage="Production", alias="champion")
    assert moved["model_version"]["current_stage"] == "Production"
    found = run(GetModelVersionOperator, name=name, version="1")["model_version"]
    assert (found["current_stage"], found["aliases"]) == ("Production", ["champion"])
    latest = run(GetLatestModelVersionsOperator, name=name, stages=["Production"])["model_versions"]
    assert [version["version"] for version in latest] == ["1"]
    for _ in range(2):
        assert run(DeleteModelVersionOperator, name=name, version="1", missing_ok=True) is None
        assert run(DeleteRegisteredModelOperator, name=name, missing_ok=True) is None
    with pytest.raises(MLflowAPIError, match="RESOURCE_DOES_NOT_EXIST"):
        run(GetRegisteredModelOperator, name=name)


def test_runs_are_written_and_found(real, name, experiment, monkeypatch):
    monkeypatch.setattr(MLflowClientHook, "page_size", 2)
    real.set_experiment_tag(experiment, "owner", "me")
    assert {"key": "owner", "value": "me"} in real.get_experiment_by_name(name)["tags"]
    assert experiment in {item["experiment_id"] for item in real.search_experiments()}
    for rmse in (1.3, 1.1, 1.2):
        run_id = real.create_run(experiment, run_name="ridge")["info"]["run_id"]
        steps = [{"key": "rmse", "value": value, "step": step} for step, value in enumerate((9.5, rmse))]
        real.log_batch(run_id, steps, {"alpha": 10}, {"checked": "yes"})
        assert real.set_terminated(run_id)["status"] == "FINISHED"
        history = [(item["step"], item["value"]) for item in real.get_metric_history(run_id, "rmse")]
        assert history == [(0, 9.5), (1, rmse)]
    found = list(real.search_runs([experiment], "params.alpha = '10'", order_by=["metrics.rmse ASC"]))
    assert [item["data"]["metrics"][0]["value"] for item in found] == [1.1, 1.2, 1.3]


def test_models_are_described_tagged_copied_and_renamed(real, name, finished):
    real.create_registered_model(name, tags={"data": "possum"})
    info = finished["info"]
    real.create_model_version(name, f"{info['artifact_uri']}/model", info["run_id"], description="first")
    real.set_registered_model_tag(name, "owner", "me")
    real.set_model_version_tag(name, 1, "checked", "yes")
    real.set_registered_model_alias(name, "champion", 1)
    copy = real.copy_model_version(f"models:/{name}@champion", f"{name} production")
    assert (copy["version"], copy["tags"]) == ("1", [{"key": "checked", "value": "yes"}])
    folders = {real.get_model_version_download_uri(model, 1) for model in (name, f"{name} production")}
    assert folders == {f"{info['artifact_uri']}/model"}
    real.delete_registered_model_alias(name, "champion")
    assert real.rename_registered_model(name, f"new {name}")["name"] == f"new {name}"
    assert {item["name"] for item in real.search_model_versions(f'name="new {name}"')} == {f"new {name}"}


def test_artifacts_are_read(real, finished, tmp_path):
    folder = finished["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert list(real.list_artifact_files(folder)) == ["model/MLmodel"]
    real.download_artifact(f"{folder}/model/MLmodel", tmp_path / "MLmodel")
    assert (tmp_path / "MLmodel").read_text() == "flavors"


def test_the_mlflow_library_reaches_the_same_server(real, name, experiment):
    with real.environment():
        assert mlflow.MlflowClient().get_experiment_by_name(name).experiment_id == experiment
