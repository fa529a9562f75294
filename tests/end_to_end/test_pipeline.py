"""The pipeline on real services: once, and once more."""

from io import BytesIO

import matplotlib.image
import mlflow
import numpy as np
import pandas as pd
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from mlflow.tracking import MlflowClient

from include.evaluation.scores import format_value
from include.problem import PROBLEM
from include.services import storage, tracking
from include.services.champions import CHALLENGER_ALIAS, MODEL, model_uri
from include.settings import AWS_CONN_ID, PLOTS, XCOM_BUCKET
from local.airflow import Airflow
from local.settings import PROJECT
from local.stack import Stack
from tests.end_to_end.conftest import TARGET, Pipeline, places_with, read_rows, states_of

PICTURE = PLOTS.relative_to(PROJECT) / PROBLEM.picture


@pytest.fixture(scope="module")
def predictions(first: Pipeline) -> pd.DataFrame:
    """The published predictions, indexed by the rows' ids."""
    file = BytesIO(storage.read_bytes(first.events["predict"]["uri"]))
    return pd.read_csv(file, dtype={PROBLEM.id: str}).set_index(PROBLEM.id)


def test_every_task_succeeds_or_is_on_the_branch_not_taken(airflow: Airflow, first: Pipeline) -> None:
    skipped = set()
    for dag_id, run_id in first.runs.items():
        tasks = airflow.tasks(dag_id, run_id)
        assert {task["state"] for task in tasks} <= {"success", "skipped"}
        assert {task["try_number"] for task in tasks} <= {0, 1}, "a second try"
        skipped |= {task["task_id"] for task in tasks if task["state"] == "skipped"}
    assert skipped == {
        "prepare_mlflow_experiment.experiment_exists",
        "register_model.model_already_registered",
        "approve",
        "keep_challenger",
        "call_model_server",  # none is up
        "hand_over",  # no other version waits
    }


def test_a_task_leads_to_its_model_version_in_mlflow(stack: Stack, airflow: Airflow, first: Pipeline) -> None:
    task = f"dags/train/dagRuns/{first.runs['train']}/taskInstances/register_model.create_model_version"
    page = f"#/models/{MODEL}/versions/{first.events['train']['version']}"
    assert airflow.get(f"{task}/links")["extra_links"] == {
        "MLflow": f"http://127.0.0.1:{stack.settings.ports['MLFLOW_PORT']}/{page}"
    }


def test_the_registered_version_predicts_what_the_pipeline_published_and_scored(
    first: Pipeline, predictions: pd.DataFrame
) -> None:
    rows, holdout = read_rows(), predictions[predictions["split"] == "holdout"]
    with tracking.connected():
        model = mlflow.pyfunc.load_model(model_uri(first.events["train"]["version"]))
        metrics = MlflowClient().get_run(first.events["train"]["run_id"]).data.metrics
    np.testing.assert_allclose(model.predict(rows[PROBLEM.inputs])["prediction"], predictions["predicted"], rtol=1e-12)
    np.testing.assert_array_equal(predictions["true"], rows[TARGET])
    assert predictions.index.is_unique
    if PROBLEM.row_id:
        assert predictions.index.tolist() == rows[PROBLEM.row_id].tolist()
    assert predictions["predicted"].between(predictions["lower"], predictions["upper"]).all()
    assert metrics["holdout_rmse"] == pytest.approx(((holdout["true"] - holdout["predicted"]) ** 2).mean() ** 0.5)


def test_the_picture_is_on_disk_in_s3_and_in_mlflow(stack: Stack, first: Pipeline) -> None:
    folder = first.events["predict"]["uri"].rpartition("/")[0]
    in_s3 = storage.read_bytes(f"{folder}/{PROBLEM.picture}")
    with tracking.connected():
        in_mlflow = mlflow.artifacts.download_artifacts(
            run_id=first.events["train"]["run_id"], artifact_path=PROBLEM.picture
        )
    assert (stack.settings.project / PICTURE).read_bytes() == in_s3
    for source in (BytesIO(in_s3), in_mlflow):
        picture = matplotlib.image.imread(source, format="png")
        assert picture.shape[:2] == (800, 1600)
        assert picture[..., :3].std() > 0.05


def test_xcoms_are_in_the_object_store_and_contain_no_table(first: Pipeline) -> None:
    hook = S3Hook(AWS_CONN_ID)
    sizes = {key: hook.get_key(key, XCOM_BUCKET).content_length for key in hook.list_keys(XCOM_BUCKET)}
    assert len(sizes) >= 10
    assert max(sizes.values()) < 2000, sizes


def test_the_demo_prints_the_results(first: Pipeline, stack: Stack) -> None:
    for text in (
        PROBLEM.title,
        f"{MODEL} version 1",
        "Staging, challenger, champion",
        "version 1 promoted to champion: RMSE",
        "version 1, champion",
        f"the limit of {format_value(PROBLEM.gate.max_rmse, PROBLEM.unit)}",
        "/features.parquet",
        f"/{PROBLEM.predictions_file}",
        str(stack.settings.project / PICTURE),
        stack.settings.url("airflow"),
        stack.settings.url("mlflow"),
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
        versions = {v.version: v for v in client.search_model_versions(f"name='{MODEL}'")}
        experiments = [e for e in client.search_experiments() if e.name == PROBLEM.experiment]
        challenger = client.get_model_version_by_alias(MODEL, CHALLENGER_ALIAS)
        old = mlflow.pyfunc.load_model(model_uri("1"))
    assert len(experiments) == 1
    assert len(versions) == trained >= 2
    assert versions[first.events["train"]["version"]].current_stage == "Archived"
    assert versions[second.events["train"]["version"]].current_stage == "Staging"
    assert challenger.version == second.events["train"]["version"]
    assert len(old.predict(read_rows()[PROBLEM.inputs])) == len(read_rows())
    assert storage.read_bytes(first.events["predict"]["uri"]) == storage.read_bytes(second.events["predict"]["uri"])


def test_a_repeated_task_registers_nothing_twice(airflow: Airflow, first: Pipeline) -> None:
    def count_versions() -> int:
        with tracking.connected():
            return len(MlflowClient().search_model_versions(f"name='{MODEL}'"))

    before = count_versions()
    airflow.clear("train", first.runs["train"], ["register_model.create_model_version"])
    assert airflow.wait("train", first.runs["train"]) == "success"
    tries = {task["task_id"]: task["try_number"] for task in airflow.tasks("train", first.runs["train"])}
    assert tries["register_model.create_model_version"] == 2
    assert count_versions() == before


def test_the_registered_model_is_described(first: Pipeline) -> None:
    with tracking.connected():
        model = MlflowClient().get_registered_model(MODEL)
    own = {name: value for name, value in model.tags.items() if not name.startswith("holdout.")}
    assert own == {"model_type": "regression", "data": PROBLEM.name}
    assert model.description == PROBLEM.summary


def test_a_second_run_takes_the_other_branches(airflow: Airflow, second: Pipeline) -> None:
    states = {
        task_id: state
        for dag_id in ("feature_eng", "train")
        for task_id, state in states_of(airflow, dag_id, second.runs[dag_id]).items()
    }
    assert states["prepare_mlflow_experiment.create_experiment"] == "skipped"
    assert states["prepare_mlflow_experiment.experiment_exists"] == "success"
    assert states["register_model.create_registered_model"] == "skipped"
    assert states["register_model.model_already_registered"] == "success"
