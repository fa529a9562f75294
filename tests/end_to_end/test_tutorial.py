"""The tutorial DAG in the real Airflow, with an MLflow user who is not an administrator: once, and once more."""

from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_wine

from include.services import tracking
from local.airflow import Airflow

DAG_ID = "mlflow_tutorial_dag"


def test_two_runs_share_experiment_and_model_and_log_a_scaler_each(
    services: dict[str, str], airflow: Airflow, tmp_path: Path
) -> None:
    airflow.wait_for_dags([DAG_ID])
    for run_id in (airflow.trigger(DAG_ID), airflow.trigger(DAG_ID)):
        assert airflow.wait(DAG_ID, run_id) == "success"
        assert {task["try_number"] for task in airflow.tasks(DAG_ID, run_id)} == {1}

    wines = load_wine(as_frame=True).data
    with tracking.connected():
        client = MlflowClient()
        (experiment,) = [found for found in client.search_experiments() if found.name == "MLflow_tutorial"]
        (model,) = client.search_registered_models("name = 'Wine_scaler'")
        runs = client.search_runs([experiment.experiment_id])
        uris = [f"models:/{run.outputs.model_outputs[0].model_id}" for run in runs]
        folders = [Path(mlflow.artifacts.download_artifacts(uri, dst_path=tmp_path / uri[8:])) for uri in uris]
        scaler = mlflow.sklearn.load_model(str(folders[0]))

    assert model.tags == {"framework": "scikit-learn"}
    assert [run.info.run_name for run in runs] == ["Scaler", "Scaler"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert run.data.params["standardscaler__with_mean"] == "True"  # autologged
        assert run.data.metrics["mean_alcohol"] == pytest.approx(wines["alcohol"].mean())
        assert run.inputs.dataset_inputs
    for folder in folders:
        assert (folder / "model.skops").exists()
        assert not [file for file in folder.rglob("*") if file.suffix in (".pkl", ".pickle")]
    assert abs(scaler.transform(wines).mean(axis=0)).max() < 1e-9
