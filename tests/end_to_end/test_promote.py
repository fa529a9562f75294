"""Champions on real services: made by the gate or a person, kept from it, and brought back.

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

from include import config
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import champions, storage, tracking
from local.airflow import POLL, Airflow
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, paused, wait_for_task

pytestmark = pytest.mark.extended

LAX = {"margin": 9, "max_rmse": 9, "subgroup_max_rmse": {}}  # anything passes


@dataclass(frozen=True)
class Evaluated:
    """One run of ``promote``: the state of each task, and what it announced."""

    run_id: str
    states: dict[str, str]
    said: dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def without_predictions(airflow: Airflow, second: Pipeline) -> Iterator[None]:
    """Nobody looks at what the versions evaluated here predict."""
    with paused(airflow, "predict"):
        yield


@pytest.fixture(scope="module")
def hook(services: dict[str, str]) -> MLflowClientHook:
    return MLflowClientHook("GET", config.MLFLOW_CONN_ID)


@pytest.fixture(scope="module")
def first_evaluated(airflow: Airflow, first: Pipeline) -> Evaluated:
    return follow(airflow, airflow.wait_for_consumer("train", first.runs["train"], "promote"))


@pytest.fixture(scope="module")
def second_evaluated(airflow: Airflow, second: Pipeline) -> Evaluated:
    return follow(airflow, airflow.wait_for_consumer("train", second.runs["train"], "promote"))


@pytest.fixture(scope="module")
def worse(hook: MLflowClientHook, second: Pipeline) -> dict[str, str]:
    """A version whose predictions fall with the animal's length; what ``train`` would say of it."""
    trained = second.said["train"]
    rows = storage.read_table(trained["features_uri"])[config.RAW].head(3)
    answer = pd.DataFrame({"prediction": [37.0]})
    with tracking.connected():
        requirements = mlflow.pyfunc.get_model_dependencies(champions.model_uri(trained["version"]))
        with mlflow.start_run(experiment_id=hook.get_run(trained["run_id"])["info"]["experiment_id"]) as run:
            model = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("worse_model.py")),
                signature=infer_signature(rows, answer),
                pip_requirements=requirements,
            )
    made = hook.create_model_version(config.REGISTERED_MODEL, f"models:/{model.model_id}", run_id=run.info.run_id)
    return {"version": made["version"], "run_id": run.info.run_id, "features_uri": trained["features_uri"]}


def follow(airflow: Airflow, run_id: str) -> Evaluated:
    assert airflow.wait("promote", run_id) == "success"
    states = {task["task_id"]: task["state"] for task in airflow.tasks("promote", run_id)}
    announced = airflow.events("promote", run_id)
    assert [event["name"] for event in announced] == ["model_evaluated"]
    return Evaluated(run_id, states, announced[-1]["extra"])


def newest_run(airflow: Airflow) -> str:
    return airflow.get("dags/promote/dagRuns", order_by="-run_after", limit=1)["dag_runs"][0]["dag_run_id"]


def wait_for_question(stack: Stack, airflow: Airflow, run_id: str) -> dict[str, Any]:
    # Not for the question alone. Airflow 3.3.2 asks before the task has gone to rest, and does not look at an answer
    # that comes in between; and if the task runs again before the scheduler knows that it rested, it is taken for dead.
    wait_for_task(airflow, "promote", run_id, "approve", "awaiting_input", timeout=180)
    noted = f"TaskInstance Finished: dag_id=promote, task_id=approve, run_id={run_id}"
    deadline = time.monotonic() + 60
    while noted not in (stack.settings.logs / "scheduler.log").read_text():
        assert time.monotonic() < deadline, "the scheduler has not noticed that the task waits"
        time.sleep(POLL)
    return airflow.get(f"dags/promote/dagRuns/{run_id}/hitlDetails")["hitl_details"][0]


def tags(hook: MLflowClientHook, version: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in hook.get_model_version(config.REGISTERED_MODEL, version)["tags"]}


def test_the_first_version_becomes_champion_by_the_absolute_floor_alone(
    first: Pipeline, first_evaluated: Evaluated, hook: MLflowClientHook
) -> None:
    version = first.said["train"]["version"]

    assert first_evaluated.states["promote_to_champion"] == "success"
    assert first_evaluated.states["approve"] == first_evaluated.states["keep_challenger"] == "skipped"
    assert first_evaluated.said | {"reason": ""} == {
        **first.said["train"], "champion": version, "promoted": True, "reason": ""
    }  # fmt: skip
    assert "no champion to compare with" in first_evaluated.said["reason"]
    assert champions.history(hook)[0].version == version
    assert tags(hook, version)["promoted_by"] == "the gate"
    assert "RMSE" in tags(hook, version)["promotion_reason"]


def test_the_evaluation_is_in_the_run_that_trained_the_model(first: Pipeline, first_evaluated: Evaluated) -> None:
    with tracking.connected():
        client = mlflow.MlflowClient()
        run_id = first.said["train"]["run_id"]
        metrics = client.get_run(run_id).data.metrics
        artifacts = {file.path for file in client.list_artifacts(run_id)}

    assert metrics["evaluation_rmse_low"] < metrics["evaluation_rmse"] < metrics["evaluation_rmse_high"]
    assert metrics["evaluation_root_mean_squared_error"] == pytest.approx(metrics["evaluation_rmse"])
    assert metrics["evaluation_rmse"] == pytest.approx(metrics["holdout_rmse"])
    assert {"evaluation.png", "evaluation_subgroups.csv", "evaluation_importances.csv", "model_card.html"} <= artifacts


def test_the_version_leads_to_its_model_card(
    first: Pipeline, first_evaluated: Evaluated, hook: MLflowClientHook
) -> None:
    version = hook.get_model_version(config.REGISTERED_MODEL, first.said["train"]["version"])
    with tracking.connected():
        card = mlflow.artifacts.load_text(f"runs:/{version['run_id']}/model_card.md")

    assert f"runs/{version['run_id']}/artifacts/model_card.html" in version["description"]
    assert first.said["train"]["features_uri"] in card
    assert "Lindenmayer" in card
    assert "**champion**" in card


def test_an_equal_second_version_becomes_champion(
    second: Pipeline, second_evaluated: Evaluated, hook: MLflowClientHook
) -> None:
    assert second_evaluated.said["promoted"] is True
    assert "1.00 x the champion's" in second_evaluated.said["reason"]
    assert champions.champion(hook) == second.said["train"]["version"]


def test_a_worse_version_stays_challenger_and_says_why(
    airflow: Airflow, hook: MLflowClientHook, worse: dict[str, str], second: Pipeline, second_evaluated: Evaluated
) -> None:
    before = newest_run(airflow)
    airflow.announce("model_trained", worse)
    deadline = time.monotonic() + 60
    while (run_id := newest_run(airflow)) == before:
        assert time.monotonic() < deadline, "the announcement did not start promote"
        time.sleep(POLL)
    evaluated = follow(airflow, run_id)

    assert evaluated.states["keep_challenger"] == "success"
    assert evaluated.states["promote_to_champion"] == "skipped"
    assert evaluated.said | {"reason": ""} == {
        **worse, "champion": second.said["train"]["version"], "promoted": False, "reason": ""
    }  # fmt: skip
    assert "not worse than the champion" in tags(hook, worse["version"])["not_promoted_because"]
    assert champions.champion(hook) == second.said["train"]["version"]
    task = next(task for task in airflow.tasks("promote", run_id) if task["task_id"] == "keep_challenger")
    assert evaluated.said["reason"] in airflow.log("promote", run_id, task)


def test_a_version_that_a_person_rejects_stays_challenger(
    stack: Stack, airflow: Airflow, hook: MLflowClientHook, worse: dict[str, str], second: Pipeline
) -> None:
    run_id = airflow.trigger("promote", {**LAX, "approval": True})
    asked = wait_for_question(stack, airflow, run_id)
    airflow.answer("promote", run_id, "approve", "Reject")
    evaluated = follow(airflow, run_id)

    assert f"| version {worse['version']} | champion {second.said['train']['version']} |" in asked["body"]
    assert evaluated.said["reason"] == "admin rejected it"
    assert evaluated.states["promote_to_champion"] == "skipped"
    assert champions.champion(hook) == second.said["train"]["version"]


def test_no_answer_in_time_is_a_rejection(
    airflow: Airflow, hook: MLflowClientHook, worse: dict[str, str], second: Pipeline
) -> None:
    evaluated = follow(airflow, airflow.trigger("promote", {**LAX, "approval": True, "approval_minutes": 0.01}))

    assert evaluated.said["promoted"] is False
    assert evaluated.said["reason"] == "nobody approved it in time"
    assert champions.champion(hook) == second.said["train"]["version"]


def test_a_version_that_a_person_approves_becomes_champion(
    stack: Stack, airflow: Airflow, hook: MLflowClientHook, worse: dict[str, str]
) -> None:
    run_id = airflow.trigger("promote", {**LAX, "approval": True})
    wait_for_question(stack, airflow, run_id)
    airflow.answer("promote", run_id, "approve", "Approve")
    evaluated = follow(airflow, run_id)

    assert evaluated.states["keep_challenger"] == "skipped"
    assert champions.champion(hook) == worse["version"]
    assert tags(hook, worse["version"])["promoted_by"] == "admin"
    assert "not_promoted_because" not in tags(hook, worse["version"])


def test_a_repeated_promotion_changes_nothing(airflow: Airflow, hook: MLflowClientHook, worse: dict[str, str]) -> None:
    before = champions.history(hook)
    run_id = newest_run(airflow)
    airflow.clear("promote", run_id, ["promote_to_champion"])
    assert airflow.wait("promote", run_id) == "success"

    assert champions.history(hook) == before


def test_a_rollback_brings_the_previous_champion_back(
    airflow: Airflow, hook: MLflowClientHook, second: Pipeline, worse: dict[str, str]
) -> None:
    assert airflow.wait("rollback", airflow.trigger("rollback", {"reason": "tails too long"}), timeout=180) == "success"

    version = second.said["train"]["version"]
    assert champions.champion(hook) == version
    assert tags(hook, version)["promoted_by"] == "admin"
    assert tags(hook, version)["promotion_reason"] == "tails too long"
    assert [reign.version for reign in champions.history(hook)][-3:] == [version, worse["version"], version]


@pytest.mark.parametrize(
    ("version", "message"), [("999", "no rollback"), (None, "is the champion already")], ids=["unknown", "champion"]
)
def test_a_rollback_to_nowhere_is_refused(
    version: str | None, message: str, airflow: Airflow, hook: MLflowClientHook, second: Pipeline
) -> None:
    conf = {"version": version or champions.champion(hook), "reason": "a try"}
    before = champions.history(hook)
    run_id = airflow.trigger("rollback", conf)
    assert airflow.wait("rollback", run_id, timeout=180) == "failed"

    task = next(task for task in airflow.tasks("rollback", run_id) if task["task_id"] == "choose_version")
    assert message in airflow.error("rollback", run_id, task)
    assert task["try_number"] == 1
    assert champions.history(hook) == before


def test_the_whole_evaluation_can_be_read_again(first_evaluated: Evaluated, airflow: Airflow) -> None:
    folder = first_evaluated.run_id.replace(":", "-").replace("+", "-")
    found = json.loads(storage.read_bytes(f"s3://{config.DATA_BUCKET}/evaluations/{folder}/evaluation.json"))

    assert found["verdict"]["reason"] == first_evaluated.said["reason"]
