"""Promotion by the gate or a person, rejection and rollback, on real services.

The tests build on each other, in this order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature

from include.problem import PROBLEM
from include.services import champions, storage, tracking
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED, object_uri
from include.services.champions import MODEL
from include.settings import INCLUDE
from local.airflow import POLL, Airflow
from local.stack import Stack
from tests.end_to_end.conftest import TARGET, Pipeline, paused, read_rows, task_of, wait_for_success, wait_for_task

pytestmark = pytest.mark.extended

LAX = {"margin": 1e6, "max_rmse": 1e12, "subgroup_max_rmse": {}}  # anything passes


@dataclass(frozen=True)
class Evaluated:
    """One run of ``promote``: the state of each task, and the ``extra`` of its asset event."""

    run_id: str
    states: dict[str, str]
    event: dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def without_predictions(airflow: Airflow, second: Pipeline) -> Iterator[None]:
    """The predictions of the versions evaluated here do not matter."""
    with paused(airflow, "predict"):
        yield


@pytest.fixture(scope="module")
def first_evaluated(airflow: Airflow, first: Pipeline) -> Evaluated:
    return follow(airflow, airflow.wait_for_consumer("train", first.runs["train"], "promote"))


@pytest.fixture(scope="module")
def second_evaluated(airflow: Airflow, second: Pipeline) -> Evaluated:
    return follow(airflow, airflow.wait_for_consumer("train", second.runs["train"], "promote"))


@pytest.fixture(scope="module")
def worse(second: Pipeline) -> dict[str, str]:
    """A version that predicts the largest target for every row, as the event of ``train`` describes it."""
    trained, hook = second.events["train"], champions.connect()
    rows = storage.read_table(trained["features_uri"])[PROBLEM.inputs].head(3)
    largest = float(read_rows()[TARGET].max())
    with tracking.connected():
        requirements = mlflow.pyfunc.get_model_dependencies(champions.model_uri(trained["version"]))
        with mlflow.start_run(experiment_id=hook.get_run(trained["run_id"])["info"]["experiment_id"]) as run:
            model = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("worse_model.py")),
                model_config={"prediction": largest},
                signature=infer_signature(rows, pd.DataFrame({"prediction": [largest]})),
                pip_requirements=requirements,
            )
    version = hook.create_model_version(MODEL, f"models:/{model.model_id}", run_id=run.info.run_id)
    return {"version": version["version"], "run_id": run.info.run_id, "features_uri": trained["features_uri"]}


def follow(airflow: Airflow, run_id: str) -> Evaluated:
    states = wait_for_success(airflow, "promote", run_id)
    (event,) = airflow.events("promote", run_id)
    assert event["name"] == MODEL_EVALUATED.name
    return Evaluated(run_id, states, event["extra"])


def newest_run(airflow: Airflow) -> str:
    return airflow.get("dags/promote/dagRuns", order_by="-run_after", limit=1)["dag_runs"][0]["dag_run_id"]


def wait_for_request(stack: Stack, airflow: Airflow, run_id: str) -> dict[str, Any]:
    # Not for the request alone. Airflow 3.3.2 publishes it before the task has deferred, and ignores a response that
    # comes in between; and a task that resumes before the scheduler knows that it had deferred is taken for dead.
    wait_for_task(airflow, "promote", run_id, "approve", "awaiting_input", timeout=180)
    noted = f"TaskInstance Finished: dag_id=promote, task_id=approve, run_id={run_id}"
    deadline = time.monotonic() + 60
    while noted not in (stack.settings.logs / "scheduler.log").read_text():
        assert time.monotonic() < deadline, "the scheduler has not registered that the task waits"
        time.sleep(POLL)
    return airflow.get(f"dags/promote/dagRuns/{run_id}/hitlDetails")["hitl_details"][0]


def tags(version: str) -> dict[str, str]:
    return champions.read_tags(champions.connect().get_model_version(MODEL, version))


def test_the_first_version_becomes_champion_by_the_absolute_floor_alone(
    first: Pipeline, first_evaluated: Evaluated
) -> None:
    version = first.events["train"]["version"]

    assert first_evaluated.states["promote_to_champion"] == "success"
    assert first_evaluated.states["approve"] == first_evaluated.states["keep_challenger"] == "skipped"
    assert first_evaluated.event | {"reason": ""} == {
        **first.events["train"], "champion": version, "promoted": True, "reason": ""
    }  # fmt: skip
    assert "no champion to compare with" in first_evaluated.event["reason"]
    assert champions.history()[0].version == version
    assert tags(version)["promoted_by"] == "the gate"
    assert "RMSE" in tags(version)["promotion_reason"]


def test_the_evaluation_is_in_the_run_that_trained_the_model(first: Pipeline, first_evaluated: Evaluated) -> None:
    with tracking.connected():
        client = mlflow.MlflowClient()
        run_id = first.events["train"]["run_id"]
        metrics = client.get_run(run_id).data.metrics
        artifacts = {file.path for file in client.list_artifacts(run_id)}

    assert metrics["evaluation_rmse_low"] < metrics["evaluation_rmse"] < metrics["evaluation_rmse_high"]
    assert metrics["evaluation_root_mean_squared_error"] == pytest.approx(metrics["evaluation_rmse"])
    assert metrics["evaluation_rmse"] == pytest.approx(metrics["holdout_rmse"])
    assert {"evaluation.png", "evaluation_subgroups.csv", "evaluation_importances.csv", "model_card.html"} <= artifacts


def test_the_version_leads_to_its_model_card(first: Pipeline, first_evaluated: Evaluated) -> None:
    version = champions.connect().get_model_version(MODEL, first.events["train"]["version"])
    with tracking.connected():
        card = mlflow.artifacts.load_text(f"runs:/{version['run_id']}/model_card.md")

    assert f"runs/{version['run_id']}/artifacts/model_card.html" in version["description"]
    assert first.events["train"]["features_uri"] in card
    assert (INCLUDE / "problem.md").read_text().strip() in card
    assert "**champion**" in card


def test_an_equal_second_version_becomes_champion(second: Pipeline, second_evaluated: Evaluated) -> None:
    assert second_evaluated.event["promoted"] is True
    assert "1.00 x the champion's" in second_evaluated.event["reason"]
    assert champions.champion() == second.events["train"]["version"]


def test_a_worse_version_stays_challenger_with_the_reason(
    airflow: Airflow, worse: dict[str, str], second: Pipeline, second_evaluated: Evaluated
) -> None:
    before = newest_run(airflow)
    airflow.announce(MODEL_TRAINED.name, worse)
    deadline = time.monotonic() + 60
    while (run_id := newest_run(airflow)) == before:
        assert time.monotonic() < deadline, "the event has not triggered promote"
        time.sleep(POLL)
    evaluated = follow(airflow, run_id)

    assert evaluated.states["keep_challenger"] == "success"
    assert evaluated.states["promote_to_champion"] == "skipped"
    assert evaluated.event | {"reason": ""} == {
        **worse, "champion": second.events["train"]["version"], "promoted": False, "reason": ""
    }  # fmt: skip
    assert "not worse than the champion" in tags(worse["version"])["not_promoted_because"]
    assert champions.champion() == second.events["train"]["version"]
    task = task_of(airflow, "promote", run_id, "keep_challenger")
    assert evaluated.event["reason"] in airflow.log("promote", run_id, task)


def test_a_version_that_a_person_rejects_stays_challenger(
    stack: Stack, airflow: Airflow, worse: dict[str, str], second: Pipeline
) -> None:
    run_id = airflow.trigger("promote", {**LAX, "approval": True})
    request = wait_for_request(stack, airflow, run_id)
    airflow.answer("promote", run_id, "approve", "Reject")
    evaluated = follow(airflow, run_id)

    assert f"| version {worse['version']} | champion {second.events['train']['version']} |" in request["body"]
    assert evaluated.event["reason"] == "rejected by admin"
    assert evaluated.states["promote_to_champion"] == "skipped"
    assert champions.champion() == second.events["train"]["version"]


def test_no_response_in_time_is_a_rejection(airflow: Airflow, worse: dict[str, str], second: Pipeline) -> None:
    evaluated = follow(airflow, airflow.trigger("promote", {**LAX, "approval": True, "approval_minutes": 0.01}))

    assert evaluated.event["promoted"] is False
    assert evaluated.event["reason"] == "not approved in time"
    assert champions.champion() == second.events["train"]["version"]


def test_a_version_that_a_person_approves_becomes_champion(
    stack: Stack, airflow: Airflow, worse: dict[str, str]
) -> None:
    run_id = airflow.trigger("promote", {**LAX, "approval": True})
    wait_for_request(stack, airflow, run_id)
    airflow.answer("promote", run_id, "approve", "Approve")
    evaluated = follow(airflow, run_id)

    assert evaluated.states["keep_challenger"] == "skipped"
    assert champions.champion() == worse["version"]
    assert tags(worse["version"])["promoted_by"] == "admin"
    assert "not_promoted_because" not in tags(worse["version"])


def test_a_repeated_promotion_changes_nothing(airflow: Airflow, worse: dict[str, str]) -> None:
    before = champions.history()
    run_id = newest_run(airflow)
    airflow.clear("promote", run_id, ["promote_to_champion"])
    wait_for_success(airflow, "promote", run_id)

    assert champions.history() == before


def test_a_rollback_makes_the_previous_version_champion_again(
    airflow: Airflow, second: Pipeline, worse: dict[str, str]
) -> None:
    assert airflow.wait("rollback", airflow.trigger("rollback", {"reason": "too large"}), timeout=180) == "success"

    version = second.events["train"]["version"]
    assert champions.champion() == version
    assert tags(version)["promoted_by"] == "admin"
    assert tags(version)["promotion_reason"] == "too large"
    assert [period.version for period in champions.history()][-3:] == [version, worse["version"], version]


@pytest.mark.parametrize(
    ("version", "message"), [("999", "no rollback"), (None, "is the champion already")], ids=["unknown", "champion"]
)
def test_a_rollback_without_another_version_fails_and_changes_nothing(
    version: str | None, message: str, airflow: Airflow, second: Pipeline
) -> None:
    conf = {"version": version or champions.champion(), "reason": "just a test"}
    before = champions.history()
    run_id = airflow.trigger("rollback", conf)
    assert airflow.wait("rollback", run_id, timeout=180) == "failed"

    task = task_of(airflow, "rollback", run_id, "choose_version")
    assert message in airflow.error("rollback", run_id, task)
    assert task["try_number"] == 1
    assert champions.history() == before


def test_the_whole_evaluation_is_in_the_object_store(first_evaluated: Evaluated) -> None:
    found = json.loads(storage.read_bytes(object_uri(MODEL_EVALUATED, first_evaluated.run_id, "evaluation.json")))

    assert found["verdict"]["reason"] == first_evaluated.event["reason"]
