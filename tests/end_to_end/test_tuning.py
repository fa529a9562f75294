"""The choice among candidates in the real Airflow: success, failure, and what is left behind."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from include.model import candidates
from include.problem import PROBLEM
from include.services import champions, storage, tracking
from include.services.assets import LABELLED
from include.settings import DATA_BUCKET
from local.airflow import Airflow
from tests.end_to_end.conftest import (
    Pipeline,
    champion_is,
    new_rows,
    paused,
    states_of,
    task_of,
    wait_for_success,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.extended

ALL_BAD: dict[str, Any] = {"ElasticNet": {"alpha": [-1]}, "BayesianRidge": {"max_iter": [0]}}
ONE_BAD = {"RidgeCV": {}, "ElasticNet": {"alpha": [-1]}}
TRIED = [candidate["name"] for candidate in candidates.list_candidates({}, rows=100)]
ENDLESS = {"ExtraTreesRegressor": {"n_estimators": [1_000_000]}}


@pytest.fixture(scope="module", autouse=True)
def without_promotion(airflow: Airflow, first: Pipeline) -> Iterator[None]:
    """No version that is trained here becomes champion."""
    with paused(airflow, "promote"):
        yield


@pytest.fixture(scope="module")
def one_failed(airflow: Airflow, first: Pipeline) -> str:
    """A run in which one of two candidates fails."""
    return run_train(airflow, ONE_BAD, "success")


def run_train(airflow: Airflow, chosen: dict[str, Any], state: str) -> str:
    run_id = airflow.trigger("train", {"candidates": chosen})
    assert airflow.wait("train", run_id) == state
    return run_id


def tuned(airflow: Airflow, run_id: str) -> dict[str, dict[str, Any]]:
    """The mapped tasks by the name that Airflow shows."""
    tasks = [task for task in airflow.tasks("train", run_id) if task["task_id"] == "tune.tune_candidate"]
    return {task["rendered_map_index"]: task for task in tasks}


def tuning_runs(run_id: str) -> tuple[Run, dict[str, Run]]:
    """The MLflow run of a tuning, and those below it by name."""
    with tracking.connected():
        client = MlflowClient()
        (experiment,) = (found for found in client.search_experiments() if found.name == PROBLEM.experiment)
        runs = client.search_runs([experiment.experiment_id], f"tags.`airflow.dag_run_id` = '{run_id}'")
    (tuning,) = (run for run in runs if run.info.run_name == "Tuning")
    below = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == tuning.info.run_id}
    return tuning, below


def scratch() -> list[str]:
    return storage.list_objects(f"s3://{DATA_BUCKET}/scratch")


def test_every_candidate_is_a_task_of_its_name_and_a_child_run_of_the_tuning(airflow: Airflow, first: Pipeline) -> None:
    tasks = tuned(airflow, first.runs["train"])
    tuning, below = tuning_runs(first.runs["train"])

    assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(TRIED, "success")
    assert {name: run.info.status for name, run in below.items()} == dict.fromkeys(TRIED, "FINISHED")
    assert tuning.info.status == "FINISHED"


def test_a_candidate_that_fails_leaves_the_choice_to_the_others(airflow: Airflow, one_failed: str) -> None:
    tasks = tuned(airflow, one_failed)
    _, below = tuning_runs(one_failed)

    assert {name: (task["state"], task["try_number"]) for name, task in tasks.items()} == {
        "RidgeCV": ("success", 1),
        "ElasticNet": ("failed", 1),
    }
    assert {name: run.info.status for name, run in below.items()} == {"RidgeCV": "FINISHED", "ElasticNet": "FAILED"}
    assert 'ElasticNet with {"alpha": -1} cannot be fitted' in airflow.error("train", one_failed, tasks["ElasticNet"])
    assert airflow.events("train", one_failed)[-1]["extra"]["version"]
    assert scratch() == []


def test_if_all_candidates_fail_the_run_fails_with_one_error(airflow: Airflow, first: Pipeline) -> None:
    run_id = run_train(airflow, ALL_BAD, "failed")

    task = task_of(airflow, "train", run_id, "tune.select_candidate")
    error = airflow.error("train", run_id, task)
    assert task["try_number"] == 1
    assert "all candidates failed: ElasticNet, BayesianRidge; see their logs" in error
    assert airflow.events("train", run_id) == []
    assert scratch() == []


def test_a_killed_tuning_leaves_neither_scratch_nor_running_runs(airflow: Airflow, first: Pipeline) -> None:
    run_id = airflow.trigger("train", {"candidates": ENDLESS})
    wait_until(lambda: tuned(airflow, run_id).get("ExtraTreesRegressor", {}).get("state") == "running", timeout=120)
    assert scratch() != []

    airflow.kill("train", run_id)

    # Not "failed": where a teardown is still to run, Airflow takes the state from the tasks that it skipped.
    # https://github.com/apache/airflow/pull/45530
    airflow.wait("train", run_id)
    states = states_of(airflow, "train", run_id)
    assert (states["tune.tune_candidate"], states["tune.delete_scratch"]) == ("failed", "success")
    assert (states["train_model"], airflow.events("train", run_id)) == ("skipped", [])
    assert scratch() == []
    tuning, below = tuning_runs(run_id)
    assert {run.info.status for run in (tuning, *below.values())} <= {"KILLED", "FAILED"}


@pytest.fixture
def champion(first: Pipeline) -> Iterator[dict[str, Any]]:
    """The champion, which is the first version unless there is one already."""
    with champion_is(champions.champion() or first.events["train"]["version"]):
        yield champions.find_champion() or {}


@pytest.fixture
def measured() -> Iterator[None]:
    """The targets of new rows were measured; most of them are training rows."""
    uri = storage.write_table(new_rows(20), f"{LABELLED.uri.rstrip('/')}/new.csv")
    yield
    storage.delete(uri)


def test_the_champion_is_a_candidate_if_there_are_new_rows(
    airflow: Airflow, champion: dict[str, Any], measured: None
) -> None:
    features = airflow.trigger("feature_eng")
    wait_for_success(airflow, "feature_eng", features)
    run_id = airflow.wait_for_consumer("feature_eng", features, "train")
    wait_for_success(airflow, "train", run_id)

    assert set(tuned(airflow, run_id)) == {*TRIED, "Champion"}
    _, below = tuning_runs(run_id)
    trained = champions.read_params(champions.connect().get_run(champion["run_id"]))
    assert json.loads(below["Champion"].data.params["hyper_parameters"]) == json.loads(trained["hyper_parameters"])
