"""The provider on each server that people may have: operators, hooks, artifacts, and the ``mlflow`` library."""

import json
from types import SimpleNamespace

import mlflow
import pytest
from airflow.sdk import DAG

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.mlflow_provider.operators.deployment import CreateDeploymentOperator, PredictOperator
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
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
from include.mlflow_provider.sensors.model_version import MLflowModelVersionSensor

from ..conftest import model_arguments

RECORDS = [{"head": 94.1, "tail": 36.0}, {"head": 92.5, "tail": 36.5}]


def run(operator_class, **arguments):
    with DAG("real", schedule=None):
        operator = operator_class(task_id="task", mlflow_conn_id="real", **arguments)
    return operator.execute({"ti": SimpleNamespace(bundle_instance=None)})


@pytest.fixture(scope="session")
def model_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    mlflow.pyfunc.save_model(folder, **model_arguments("lengths.py"))
    return folder


@pytest.fixture
def experiment(real, name):
    return real.create_experiment(name)


@pytest.fixture
def finished(real, experiment, model_files):
    """A run that has a model among its artifacts; the ``mlflow`` library brought it there."""
    with real.environment(), mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_artifacts(str(model_files), "model")
    return real.get_run(run.info.run_id)


@pytest.fixture
def version(real, name, finished):
    """Version 1 of a registered model, of those files."""
    info = finished["info"]
    real.create_registered_model(name)
    return real.create_model_version(name, f"{info['artifact_uri']}/model", info["run_id"], description="first")


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
    assert run(MLflowModelVersionSensor, name=name, version=1, alias="champion", timeout=0) == found
    latest = run(GetLatestModelVersionsOperator, name=name, stages=["Production"])["model_versions"]
    assert [version["version"] for version in latest] == ["1"]
    for _ in range(2):
        assert run(DeleteModelVersionOperator, name=name, version="1", missing_ok=True) is None
        assert run(DeleteRegisteredModelOperator, name=name, missing_ok=True) is None
    with pytest.raises(MLflowAPIError, match="RESOURCE_DOES_NOT_EXIST"):
        run(GetRegisteredModelOperator, name=name)


def test_runs_are_written_and_found(real, name, experiment, monkeypatch):
    monkeypatch.setattr(MLflowClientHook, "page_size", 2)
    assert experiment in {item["experiment_id"] for item in real.search_experiments()}
    for rmse in (1.3, 1.1, 1.2):
        run_id = real.create_run(experiment, run_name="ridge")["info"]["run_id"]
        steps = [{"key": "rmse", "value": value, "step": step} for step, value in enumerate((9.5, 8.5, rmse))]
        real.log_batch(run_id, steps, {"alpha": 10}, {"checked": "yes"})
        assert real.set_terminated(run_id)["status"] == "FINISHED"
        history = [(item["step"], item["value"]) for item in real.get_metric_history(run_id, "rmse")]
        assert history == [(0, 9.5), (1, 8.5), (2, rmse)]
    found = list(real.search_runs([experiment], "params.alpha = '10'", order_by=["metrics.rmse ASC"]))
    assert [item["data"]["metrics"][0]["value"] for item in found] == [1.1, 1.2, 1.3]


def test_models_are_tagged_and_copied(real, name, version):
    real.set_registered_model_tag(name, "owner", "me")
    assert real.get_registered_model(name)["tags"] == [{"key": "owner", "value": "me"}]
    real.set_model_version_tag(name, 1, "checked", "yes")
    real.set_registered_model_alias(name, "champion", 1)
    copy = real.copy_model_version(f"models:/{name}@champion", f"{name} production")
    expected = {"version": "1", "description": "first", "tags": [{"key": "checked", "value": "yes"}]}
    expected["run_id"] = version["run_id"]
    assert copy.items() >= expected.items()
    folders = {real.get_model_version_download_uri(model, 1) for model in (name, f"{name} production")}
    assert folders == {version["source"]}
    real.delete_registered_model_alias(name, "champion")
    assert {item["name"] for item in real.search_model_versions(f'name="{name}"')} == {name}


def test_a_model_is_found_and_fetched(real, name, version, model_files, tmp_path):
    real.set_registered_model_alias(name, "champion", 1)
    pyfunc = MLflowPyfuncHook("real")
    folder = pyfunc.get_model_artifact_uri(f"models:/{name}@champion")
    assert pyfunc.get_model_artifact_uri(f"models:/{name}/1") == folder == version["source"]
    fetched = {file.name: file.read_bytes() for file in pyfunc.download_model(folder, tmp_path).iterdir()}
    assert fetched == {file.name: file.read_bytes() for file in model_files.iterdir()}


def test_a_model_predicts_in_a_process_of_its_own(real, name, version, environments, monkeypatch):
    # Airflow asks for this variable; outside of a task it would want its database.
    monkeypatch.setenv("AIRFLOW_VAR_PYTHON_VIRTUALENV_OPERATOR_CACHE_KEY", "")
    arguments = {"model_uri": f"models:/{name}/1", "data": RECORDS, "venv_cache_path": environments}
    assert run(ModelLoadAndPredictOperator, **arguments) == pytest.approx([130.1, 129.0])


@pytest.mark.parametrize("server", ["own_prefix_and_tls", "version_2"], indirect=True)
def test_a_model_is_deployed_and_predicts(real, name, version, serving):
    assert run(CreateDeploymentOperator, name=name, model_uri=f"models:/{name}/1", target_uri=serving)["name"] == name
    answer = run(PredictOperator, deployment_name=name, inputs={"dataframe_records": RECORDS}, target_uri=serving)
    assert json.loads(answer)["predictions"] == pytest.approx([130.1, 129.0])


def test_the_mlflow_library_reaches_the_same_server(real, name, experiment):
    with real.environment():
        assert mlflow.MlflowClient().get_experiment_by_name(name).experiment_id == experiment


def test_a_registry_on_another_server_is_used(connect, without_login, version_2, name):
    connect("real", **without_login, extra={"registry_uri": version_2["host"]})
    connect("registry", **version_2)
    real, registry = (MLflowClientHook(mlflow_conn_id=conn_id) for conn_id in ("real", "registry"))
    assert real.test_connection()[0]
    experiment_id = real.create_experiment(name)
    model = real.create_registered_model(name, exist_ok=True)
    assert (registry.get_registered_model(name), registry.get_experiment_by_name(name)) == (model, None)
    with real.environment():
        client = mlflow.MlflowClient()
        assert client.get_registered_model(name).name == name
        assert client.get_experiment(experiment_id).name == name
