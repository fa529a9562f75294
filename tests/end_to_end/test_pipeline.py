"""The pipeline on real services: once, and once more."""

from __future__ import annotations

from io import BytesIO

import matplotlib.image
import mlflow
import numpy as np
import pandas as pd
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from mlflow.tracking import MlflowClient

from include import config
from include.config import RAW
from include.platform import storage, tracking
from local.airflow import Airflow
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, places_with


@pytest.fixture(scope="module")
def predictions(first: Pipeline) -> pd.DataFrame:
    return pd.read_csv(BytesIO(storage.read_bytes(first.said["predict"]["uri"])))


def test_every_task_succeeds_or_lies_on_the_branch_not_taken(airflow: Airflow, first: Pipeline) -> None:
    skipped = set()
    for dag_id, run_id in first.runs.items():
        states = {task["task_id"]: task["state"] for task in airflow.tasks(dag_id, run_id)}
        assert set(states.values()) <= {"success", "skipped"}
        skipped |= {task_id for task_id, state in states.items() if state == "skipped"}
    assert skipped == {
        "prepare_mlflow_experiment.experiment_exists",
        "register_model.model_already_registered",
        "approve",
        "keep_challenger",
        "call_model_server",  # none is up
    }


def test_no_task_needed_a_second_try(airflow: Airflow, first: Pipeline) -> None:
    for dag_id, run_id in first.runs.items():
        tries = {task["task_id"]: task["try_number"] for task in airflow.tasks(dag_id, run_id)}
        assert set(tries.values()) <= {0, 1}, tries


def test_the_result_of_every_check_of_the_data_is_in_mlflow(first: Pipeline) -> None:
    with tracking.connected():
        experiment_id = MlflowClient().get_experiment_by_name(config.EXPERIMENT).experiment_id
        (run,) = MlflowClient().search_runs(
            [experiment_id],
            f"attributes.run_name = 'Data quality' and tags.`airflow.dag_run_id` = '{first.runs['feature_eng']}'",
        )
        results = MlflowClient().load_table(experiment_id, "data_quality.json", [run.info.run_id])
    assert run.data.metrics == {"rows": 104, "cleaning_faults": 0, "halting_faults": 0, "warning_faults": 0}
    assert {"severity", "column", "check", "failures", "faults"} <= set(results)
    assert set(config.RAW) <= set(results["column"])


def test_a_task_leads_to_its_model_version_in_mlflow(stack: Stack, airflow: Airflow, first: Pipeline) -> None:
    task = f"dags/train/dagRuns/{first.runs['train']}/taskInstances/register_model.create_model_version"
    page = f"#/models/{config.REGISTERED_MODEL}/versions/{first.said['train']['version']}"
    assert airflow.get(f"{task}/links")["extra_links"] == {
        "MLflow": f"http://127.0.0.1:{stack.settings.ports['MLFLOW_PORT']}/{page}"
    }


def test_the_registered_version_predicts_what_the_pipeline_saved(first: Pipeline, predictions: pd.DataFrame) -> None:
    raw = pd.read_csv(config.POSSUM_CSV)
    with tracking.connected():
        model = mlflow.pyfunc.load_model(f"models:/{config.REGISTERED_MODEL}/{first.said['train']['version']}")
    np.testing.assert_allclose(model.predict(raw[RAW])["prediction"], predictions["predicted"], rtol=1e-12)
    assert predictions["case"].tolist() == raw["case"].tolist()
    np.testing.assert_array_equal(predictions["true"], raw["taill"])


def test_training_and_holdout_animals_are_told_apart(predictions: pd.DataFrame) -> None:
    assert set(predictions["split"]) == {"train", "holdout"}
    assert 15 <= (predictions["split"] == "holdout").sum() <= 35


def test_the_scores_in_mlflow_are_those_of_the_predictions(first: Pipeline, predictions: pd.DataFrame) -> None:
    holdout = predictions[predictions["split"] == "holdout"]
    rmse = ((holdout["true"] - holdout["predicted"]) ** 2).mean() ** 0.5
    with tracking.connected():
        metrics = MlflowClient().get_run(first.said["train"]["run_id"]).data.metrics
    assert metrics["holdout_rmse"] == pytest.approx(rmse)


def test_the_picture_is_on_disk_in_s3_and_in_mlflow(stack: Stack, first: Pipeline) -> None:
    folder = first.said["predict"]["uri"].rpartition("/")[0]
    in_s3 = storage.read_bytes(f"{folder}/possum_tails.png")
    with tracking.connected():
        in_mlflow = mlflow.artifacts.download_artifacts(
            run_id=first.said["train"]["run_id"], artifact_path="possum_tails.png"
        )
    assert (stack.settings.project / "include/plots/possum_tails.png").exists()
    for source in (BytesIO(in_s3), in_mlflow):
        picture = matplotlib.image.imread(source, format="png")
        assert picture.shape[:2] == (800, 1600)
        assert picture[..., :3].std() > 0.05


def test_xcoms_lie_in_the_object_store_and_hold_no_table(first: Pipeline) -> None:
    hook = S3Hook(config.AWS_CONN_ID)
    sizes = {key: hook.get_key(key, config.XCOM_BUCKET).content_length for key in hook.list_keys(config.XCOM_BUCKET)}
    assert len(sizes) >= 10
    assert max(sizes.values()) < 2000, sizes


def test_the_demo_prints_what_came_out(first: Pipeline, stack: Stack) -> None:
    for text in (
        f"{config.REGISTERED_MODEL} version 1",
        "Staging, challenger, champion",
        "version 1 promoted to champion: RMSE",
        "version 1, champion",
        "RMSE",
        "/features.parquet",
        "/possum_tail_length.csv",
        str(stack.settings.project / "include/plots/possum_tails.png"),
        stack.settings.airflow_url,
        stack.settings.mlflow_url,
    ):
        assert text in first.printed


def test_no_secret_is_in_logs_xcoms_rendered_fields_or_on_a_command_line(stack: Stack, first: Pipeline) -> None:
    arguments = [" ".join(process.cmdline()).encode() for process in stack.processes()]
    for name, secret in stack.settings.secrets().items():
        assert not places_with(stack, secret), name
        assert not any(secret.encode() in argument for argument in arguments), name


def test_a_second_run_adds_a_version_and_loses_nothing(airflow: Airflow, first: Pipeline, second: Pipeline) -> None:
    trained = airflow.get("dags/train/dagRuns", state="success")["total_entries"]
    with tracking.connected():
        client = MlflowClient()
        versions = {v.version: v for v in client.search_model_versions(f"name='{config.REGISTERED_MODEL}'")}
        experiments = [e for e in client.search_experiments() if e.name == config.EXPERIMENT]
        challenger = client.get_model_version_by_alias(config.REGISTERED_MODEL, config.MODEL_ALIAS)
        old = mlflow.pyfunc.load_model(f"models:/{config.REGISTERED_MODEL}/1")
    assert len(experiments) == 1
    assert len(versions) == trained >= 2
    assert versions[first.said["train"]["version"]].current_stage == "Archived"
    assert versions[second.said["train"]["version"]].current_stage == "Staging"
    assert challenger.version == second.said["train"]["version"]
    assert len(old.predict(pd.read_csv(config.POSSUM_CSV)[RAW])) == 104
    assert storage.read_bytes(first.said["predict"]["uri"]) == storage.read_bytes(second.said["predict"]["uri"])


def test_a_repeated_task_registers_nothing_twice(airflow: Airflow, first: Pipeline) -> None:
    def versions() -> int:
        with tracking.connected():
            return len(MlflowClient().search_model_versions(f"name='{config.REGISTERED_MODEL}'"))

    before = versions()
    airflow.clear("train", first.runs["train"], ["register_model.create_model_version"])
    assert airflow.wait("train", first.runs["train"]) == "success"
    tries = {task["task_id"]: task["try_number"] for task in airflow.tasks("train", first.runs["train"])}
    assert tries["register_model.create_model_version"] == 2
    assert versions() == before


def test_the_registered_model_says_what_it_is(first: Pipeline) -> None:
    with tracking.connected():
        model = MlflowClient().get_registered_model(config.REGISTERED_MODEL)
    assert model.tags == {"model_type": "regression", "data": "possum"}
    assert "possum's tail" in model.description


def test_a_second_run_takes_the_other_branches(airflow: Airflow, second: Pipeline) -> None:
    states = {
        task["task_id"]: task["state"]
        for dag_id in ("feature_eng", "train")
        for task in airflow.tasks(dag_id, second.runs[dag_id])
    }
    assert states["prepare_mlflow_experiment.create_experiment"] == "skipped"
    assert states["prepare_mlflow_experiment.experiment_exists"] == "success"
    assert states["register_model.create_registered_model"] == "skipped"
    assert states["register_model.model_already_registered"] == "success"
