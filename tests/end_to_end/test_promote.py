"""Promotion by the gate or a person, rejection and rollback, on real services.

The tests build on each other, in this order.
"""

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
from include.services.assets import FEATURES, MODEL_EVALUATED, MODEL_TRAINED
from include.services.champions import MODEL
from include.tasks.train import train_model
from local.stack import Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import (
    TARGET,
    Pipeline,
    paused,
    read_rows,
    states_of,
    task_of,
    wait_for_success,
    wait_for_task,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.extended

# Whatever is better than the mean passes.
LAX = {"margin": 1e6, "max_rmse": 1e12, "subgroup_max_rmse": {}, "confidence": 0.51}

Version = dict[str, str]  # as the event of train describes it


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
def experiment_id(second: Pipeline) -> str:
    return champions.connect().get_run(second.events["train"]["run_id"])["info"]["experiment_id"]


@pytest.fixture(scope="module")
def worse(second: Pipeline, experiment_id: str) -> Version:
    """A version that predicts the largest target for every row."""
    trained = second.events["train"]
    rows = storage.read_table(trained["features_uri"])[PROBLEM.inputs].head(3)
    largest = float(read_rows()[TARGET].max())
    with tracking.connected():
        file = mlflow.pyfunc.get_model_dependencies(champions.model_uri(trained["version"]))
        with mlflow.start_run(experiment_id=experiment_id) as run:
            model = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("worse_model.py")),
                model_config={"prediction": largest},
                signature=infer_signature(rows, pd.DataFrame({"prediction": [largest]})),
                pip_requirements=[f"-r {file}"],  # with the lock; the path alone is read without
            )
    return register(f"models:/{model.model_id}", run.info.run_id, trained["features_uri"])


@pytest.fixture(scope="module")
def other(second: Pipeline, experiment_id: str) -> Version:
    """A version of another strength of regularisation, which predicts otherwise than the first, and not much worse."""
    selected = {"name": "Other", "estimator": "RidgeCV", "hyper_parameters": {"alphas": [100.0]}, "scores": {}}
    features_uri = second.events["train"]["features_uri"]
    trained = train_model(features_uri, experiment_id, selected | {"reason": "for a test"})
    return register(trained["model_uri"], trained["run_id"], features_uri)


def register(source: str, run_id: str, features_uri: str) -> Version:
    hook = champions.connect()
    return champions.describe(hook.create_model_version(MODEL, source, run_id, {"features_uri": features_uri}))


def register_copy(version: Version, **changes: str) -> Version:
    """Register a version's model once more, as if it had been trained again."""
    source = champions.connect().get_model_version(MODEL, version["version"])["source"]
    return register(source, version["run_id"], changes.get("features_uri", version["features_uri"]))


def judged(airflow: Airflow, runs: list[str]) -> list[str]:
    """Return the version that each of these runs of ``promote`` judged and announced."""
    events = [event for run_id in runs for event in airflow.events("promote", run_id)]
    return [event["extra"]["version"] for event in events if event["name"] == MODEL_EVALUATED.name]


def follow(airflow: Airflow, run_id: str) -> Evaluated:
    states = wait_for_success(airflow, "promote", run_id)
    (event,) = [event for event in airflow.events("promote", run_id) if event["name"] == MODEL_EVALUATED.name]
    return Evaluated(run_id, states, event["extra"])


def wait_for_request(stack: Stack, airflow: Airflow, run_id: str) -> dict[str, Any]:
    # Not for the request alone. Airflow 3.3.2 publishes it before the task has deferred, and ignores a response that
    # comes in between; and a task that resumes before the scheduler knows that it had deferred is taken for dead.
    wait_for_task(airflow, "promote", run_id, "approve", "awaiting_input", timeout=180)
    noted = f"TaskInstance Finished: dag_id=promote, task_id=approve, run_id={run_id}"
    wait_until(lambda: noted in (stack.settings.logs / "scheduler.log").read_text(), error="the task is not noted")
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


def test_an_equal_second_version_stays_challenger(
    first: Pipeline, second: Pipeline, second_evaluated: Evaluated
) -> None:
    assert second_evaluated.event["promoted"] is False
    assert "predicts the same as the champion" in second_evaluated.event["reason"]
    assert champions.champion() == first.events["train"]["version"]


def test_a_worse_version_stays_challenger_with_the_reason(
    airflow: Airflow, worse: Version, first: Pipeline, second_evaluated: Evaluated
) -> None:
    before = airflow.wait_until_idle("promote")
    airflow.announce(MODEL_TRAINED.name, worse)
    (run_id,) = airflow.wait_for_new_runs("promote", before)
    evaluated = follow(airflow, run_id)

    champion = first.events["train"]["version"]
    assert evaluated.states["keep_challenger"] == "success"
    assert evaluated.states["promote_to_champion"] == "skipped"
    assert evaluated.event | {"reason": ""} == {**worse, "champion": champion, "promoted": False, "reason": ""}
    assert "not worse than the champion" in tags(worse["version"])["not_promoted_because"]
    assert champions.champion() == champion
    task = task_of(airflow, "promote", run_id, "keep_challenger")
    assert evaluated.event["reason"] in airflow.log("promote", run_id, task)


def test_a_version_that_a_person_rejects_stays_challenger(
    stack: Stack, airflow: Airflow, worse: Version, other: Version, first: Pipeline
) -> None:
    run_id = airflow.trigger("promote", {**LAX, "approval": True})
    request = wait_for_request(stack, airflow, run_id)
    airflow.answer("promote", run_id, "approve", "Reject")
    evaluated = follow(airflow, run_id)

    assert f"| version {other['version']} | champion {first.events['train']['version']} |" in request["body"]
    assert evaluated.event["reason"] == "rejected by admin"
    assert evaluated.states["promote_to_champion"] == "skipped"
    assert champions.champion() == first.events["train"]["version"]


def test_no_response_in_time_is_a_rejection(airflow: Airflow, other: Version, first: Pipeline) -> None:
    evaluated = follow(airflow, airflow.trigger("promote", {**LAX, "approval": True, "approval_minutes": 0.01}))

    assert evaluated.event["version"] == other["version"]
    assert evaluated.event["promoted"] is False
    assert evaluated.event["reason"] == "not approved in time"
    assert champions.champion() == first.events["train"]["version"]


@pytest.fixture(scope="module")
def waiting(stack: Stack, airflow: Airflow, worse: Version, other: Version, first: Pipeline) -> dict[str, Any]:
    """Three versions that are trained while one waits for approval, and the runs that follow."""
    before = airflow.wait_until_idle("promote")
    run_id = airflow.trigger("promote", {**LAX, "approval": True, "version": other["version"]})
    wait_for_request(stack, airflow, run_id)
    trained = [register_copy(version) for version in (other, worse, first.events["train"])]
    for version in trained:
        airflow.announce(MODEL_TRAINED.name, version)
    airflow.answer("promote", run_id, "approve", "Approve")
    runs = [run_id for run_id in airflow.wait_until_idle("promote", timeout=600) if run_id not in before]
    return {"trained": [version["version"] for version in trained], "runs": runs}


def test_a_version_that_a_person_approves_becomes_champion(
    airflow: Airflow, other: Version, waiting: dict[str, Any]
) -> None:
    evaluated = follow(airflow, waiting["runs"][0])

    assert evaluated.states["keep_challenger"] == "skipped"
    assert evaluated.event["champion"] == champions.champion() == other["version"]
    assert tags(other["version"])["promoted_by"] == "admin"
    assert "not_promoted_because" not in tags(other["version"])


def test_versions_that_are_trained_while_one_waits_are_each_judged_once_in_their_order(
    airflow: Airflow, other: Version, waiting: dict[str, Any]
) -> None:
    assert judged(airflow, waiting["runs"]) == [other["version"], *waiting["trained"]]
    assert len(waiting["runs"]) == 4
    reasons = [tags(version)["not_promoted_because"] for version in waiting["trained"]]
    assert "predicts the same as the champion" in reasons[0]
    assert "not worse than the champion" in reasons[1]
    assert champions.waiting() == []


def test_an_old_event_that_is_sent_again_judges_nothing(
    airflow: Airflow, first: Pipeline, other: Version, waiting: dict[str, Any]
) -> None:
    before, verdict = airflow.wait_until_idle("promote"), tags(first.events["train"]["version"])
    airflow.announce(MODEL_TRAINED.name, first.events["train"])
    (run_id,) = airflow.wait_for_new_runs("promote", before)

    states = wait_for_success(airflow, "promote", run_id)
    assert states.pop("start") == states.pop("choose_version") == "success"
    assert set(states.values()) == {"skipped"}
    assert airflow.wait_until_idle("promote") == [*before, run_id]
    assert champions.champion() == other["version"]
    assert tags(first.events["train"]["version"]) == verdict


def test_a_rollback_makes_the_previous_version_champion_again(
    airflow: Airflow, first: Pipeline, other: Version, waiting: dict[str, Any]
) -> None:
    assert airflow.wait("rollback", airflow.trigger("rollback", {"reason": "too large"}), timeout=180) == "success"

    version = first.events["train"]["version"]
    assert champions.champion() == version
    assert tags(version)["promoted_by"] == "admin"
    assert tags(version)["promotion_reason"] == "too large"
    assert tags(other["version"])["on_hold"] == "rolled back by admin: too large"
    assert [period.version for period in champions.history()][-3:] == [version, other["version"], version]


def test_a_rolled_back_model_does_not_come_back_under_another_number(
    airflow: Airflow, first: Pipeline, other: Version, waiting: dict[str, Any]
) -> None:
    again = register_copy(other)
    evaluated = follow(airflow, airflow.trigger("promote", LAX))

    assert evaluated.event["version"] == again["version"]
    assert "not rolled back" in evaluated.event["reason"]
    assert champions.champion() == first.events["train"]["version"]


def test_a_version_that_cannot_be_evaluated_gets_a_verdict_and_the_next_one_is_judged(
    airflow: Airflow, first: Pipeline, waiting: dict[str, Any]
) -> None:
    before = airflow.wait_until_idle("promote")
    broken = register_copy(first.events["train"], features_uri=f"{FEATURES.uri}/gone/features.parquet")
    whole = register_copy(first.events["train"])
    airflow.announce(MODEL_TRAINED.name, broken)
    (failed,) = airflow.wait_for_new_runs("promote", before)
    assert airflow.wait("promote", failed) == "failed"

    runs = [run_id for run_id in airflow.wait_until_idle("promote") if run_id not in before]
    assert judged(airflow, runs) == [whole["version"]]
    assert len(runs) == 2
    reason = tags(broken["version"])["not_promoted_because"]
    assert reason.startswith(f"the evaluation failed in run {failed}: clear the failed task")
    assert champions.waiting() == []


def test_several_tables_during_a_training_lead_to_one_more_from_the_newest(airflow: Airflow, first: Pipeline) -> None:
    before, known = airflow.wait_until_idle("train"), len(champions.versions())
    table = storage.read_table(first.events["feature_eng"]["uri"])
    uris = [storage.write_table(table, f"{FEATURES.uri}/during-{number}/features.parquet") for number in range(3)]
    with paused(airflow, "promote"):
        run_id = airflow.trigger("train", {"candidates": {"RidgeCV": {}}})
        wait_for_task(airflow, "train", run_id, "fetch_feature_df", "success", timeout=60)
        for uri in uris:
            airflow.announce(FEATURES.name, {"uri": uri})
        runs = [run_id for run_id in airflow.wait_until_idle("train") if run_id not in before]

        trained_from = [tags(version["version"])["features_uri"] for version in champions.versions()[known:]]
        assert trained_from[1:] == [uris[-1]]
        assert trained_from[0] not in uris
        assert len(runs) == 2

        airflow.announce(FEATURES.name, {"uri": uris[-1]})
        (again,) = set(airflow.wait_until_idle("train")) - {*before, *runs}
    states = states_of(airflow, "train", again)
    assert states["train_model"] == states["end"] == states["tune.delete_scratch"] == "skipped"
    assert len(champions.versions()) == known + 2
    for version in champions.waiting():
        champions.reject(version["version"], why="of no interest to other tests")
