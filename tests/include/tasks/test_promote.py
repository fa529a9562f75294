"""Two versions of the toy problem, evaluated, promoted and described in the real MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from mlflow.tracking import MlflowClient

from include.data.identity import hash_table
from include.data.split import select_holdout, select_training
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.services import champions, storage, tracking
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED
from include.settings import INCLUDE
from include.tasks import promote as tasks
from include.tasks import train as training

from ...toy import HOUSES, make_rows
from ..conftest import make_table

NAME = "promotion"
PARAMS = asdict(HOUSES.gate) | {"approval": False}
ANN = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "ann"}}

Version = dict[str, Any]


@pytest.fixture(scope="module")
def hook(buckets: None) -> Iterator[MLflowClientHook]:
    """The registered model of the toy problem, in the place of the project's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(champions, "MODEL", NAME)
        for module in (tasks, training):
            patch.setattr(module, "PROBLEM", HOUSES)
        hook = champions.connect()
        hook.create_registered_model(NAME)
        yield hook
        hook.delete_registered_model(NAME)


@pytest.fixture(scope="module")
def train(hook: MLflowClientHook, houses: pd.DataFrame) -> Callable[[float], Version]:
    """Trains and registers a version, and returns the event of ``train``."""
    features_uri = storage.write_table(houses, "s3://data/features/promotion/features.parquet")
    experiment_id = hook.create_experiment(NAME)

    def train_version(alpha: float) -> Version:
        selected = {"name": "Ridge", "estimator": "RidgeCV", "hyper_parameters": {"alphas": [alpha]}}
        trained = training.train_model(features_uri, experiment_id, {**selected, "reason": "only one", "scores": {}})
        version = hook.create_model_version(NAME, trained["model_uri"], run_id=trained["run_id"])
        return {"version": version["version"], "run_id": trained["run_id"], "features_uri": features_uri}

    return train_version


def prepare(trained: Version, run_id: str) -> list[dict[str, str]]:
    return tasks.prepare_holdout(run_id, {MODEL_TRAINED: [SimpleNamespace(extra=trained)]}, {})


def predict(request: dict[str, str]) -> None:
    """Predict as ``predict_holdout`` does, in this process."""
    with tracking.connected():
        predicted = mlflow.pyfunc.load_model(request["model_uri"]).predict(storage.read_table(request["data"]))
    storage.write_table(predicted, request["output_uri"])


def evaluate(trained: Version, run_id: str) -> Version:
    for request in prepare(trained, run_id):
        predict(request)
    return tasks.evaluate_challenger(PARAMS, run_id)


def announce(evaluated: Version, promoted: Version | None, kept: Version | None) -> Version:
    event = SimpleNamespace(extra={})
    announced = tasks.write_model_card(evaluated, promoted, kept, {MODEL_EVALUATED: event})
    assert event.extra == announced
    return announced


@pytest.fixture(scope="module")
def first(train: Callable[[float], Version]) -> Version:
    """The first version: evaluated, promoted, described."""
    trained = train(1.0)
    evaluated = evaluate(trained, "run-1")
    announced = announce(evaluated, tasks.promote_to_champion(evaluated, None), None)
    return {"trained": trained, "evaluated": evaluated, "announced": announced}


@pytest.fixture(scope="module")
def worse(train: Callable[[float], Version], first: Version) -> Version:
    """A version shrunk to the mean: evaluated against the first, kept, described."""
    trained = train(1e6)
    evaluated = evaluate(trained, "run-2")
    announced = announce(evaluated, None, tasks.keep_challenger(evaluated, None))
    return {"trained": trained, "evaluated": evaluated, "announced": announced}


def read(evaluated: Version) -> Version:
    return json.loads(storage.read_bytes(evaluated["uri"]))


def tags(hook: MLflowClientHook, version: str) -> dict[str, str]:
    return champions.read_tags(hook.get_model_version(NAME, version))


def test_the_first_version_is_announced_as_champion(first: Version, hook: MLflowClientHook) -> None:
    version = first["trained"]["version"]

    assert first["announced"] == {
        **first["trained"],
        "champion": version,
        "promoted": True,
        "reason": first["evaluated"]["reason"],
    }
    assert tags(hook, version)["promoted_by"] == "the gate"


def test_the_worse_version_is_announced_as_not_promoted(first: Version, worse: Version, hook: MLflowClientHook) -> None:
    assert worse["announced"]["promoted"] is False
    assert worse["announced"]["champion"] == first["trained"]["version"]
    assert "not worse than the champion: RMSE is" in worse["announced"]["reason"]
    assert tags(hook, worse["trained"]["version"])["not_promoted_because"] == worse["announced"]["reason"]


def test_both_versions_are_scored_on_the_same_holdout_rows(first: Version, worse: Version) -> None:
    compared, alone = read(worse["evaluated"]), read(first["evaluated"])

    assert compared["scores"][1]["rmse"] == alone["scores"][0]["rmse"]
    assert compared["scores"][0]["rmse"]["value"] > compared["scores"][1]["rmse"]["value"]


def test_the_evaluation_records_its_data(first: Version, houses: pd.DataFrame) -> None:
    evaluation = read(first["evaluated"])

    assert evaluation["training_rows"] == len(select_training(houses, HOUSES))
    assert evaluation["holdout_rows"] == len(select_holdout(houses, HOUSES))
    assert evaluation["data_sha256"] == hash_table(storage.read_table(evaluation["features_uri"]))


def test_no_engineered_column_is_needed_to_predict_and_no_target_is_given(first: Version) -> None:
    (request, *_) = prepare(first["trained"], "run-inputs")

    assert "price" not in storage.read_table(request["data"])


def test_mlflows_own_evaluation_agrees(first: Version) -> None:
    with tracking.connected():
        run = MlflowClient().get_run(first["trained"]["run_id"])

    metrics = run.data.metrics
    assert metrics["evaluation_root_mean_squared_error"] == pytest.approx(metrics["evaluation_rmse"])
    assert metrics["evaluation_mean_absolute_error"] == pytest.approx(metrics["evaluation_mae"])
    assert metrics["evaluation_r2_score"] == pytest.approx(metrics["evaluation_r2"])
    assert metrics["evaluation_rmse"] == pytest.approx(metrics["holdout_rmse"])
    assert run.info.status == "FINISHED"


def test_figure_tables_and_card_are_in_the_run(first: Version, tmp_path: Path) -> None:
    with tracking.connected():
        folder = Path(mlflow.artifacts.download_artifacts(run_id=first["trained"]["run_id"], dst_path=str(tmp_path)))

    assert (folder / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    groups = pd.read_csv(folder / "evaluation_subgroups.csv")
    assert set(groups["column"]) == set(HOUSES.subgroups)
    assert set(pd.read_csv(folder / "evaluation_importances.csv")["column"]) == set(HOUSES.inputs)
    assert (folder / "model_card.html").read_text().count("data:image/png;base64,") == 1
    card = (folder / "model_card.md").read_text()
    prose = (INCLUDE / "problem.md").read_text().strip()
    for fact in ("scikit-learn==", "Code version", "**champion**", "split north", prose.splitlines()[0]):
        assert fact in card


def test_the_description_leads_to_the_card(worse: Version, hook: MLflowClientHook) -> None:
    description = hook.get_model_version(NAME, worse["trained"]["version"])["description"]

    assert f"runs/{worse['trained']['run_id']}/artifacts/model_card.html" in description
    assert "Not promoted: " in description
    assert " k€ on " in description


def test_a_repeated_evaluation_has_the_same_result(first: Version, worse: Version) -> None:
    assert evaluate(worse["trained"], "run-2") == worse["evaluated"]


def test_a_promotion_during_the_run_does_not_change_what_is_compared(
    first: Version, worse: Version, hook: MLflowClientHook
) -> None:
    for request in prepare(worse["trained"], "run-3"):
        predict(request)
    hook.delete_registered_model_alias(NAME, champions.CHAMPION_ALIAS)
    try:
        assert tasks.evaluate_challenger(PARAMS, "run-3")["reason"] == worse["evaluated"]["reason"]
    finally:
        hook.set_registered_model_alias(NAME, champions.CHAMPION_ALIAS, first["trained"]["version"])


def test_the_limits_of_the_form_are_applied(first: Version) -> None:
    for request in prepare(first["trained"], "run-4"):
        predict(request)

    strict = tasks.evaluate_challenger(PARAMS | {"max_rmse": 1.0}, "run-4")

    assert not strict["passed"]
    assert "1" in strict["reason"]


def test_a_comparison_with_a_champion_that_was_replaced_promotes_nothing(first: Version, worse: Version) -> None:
    decided = tasks.promote_to_champion({**worse["evaluated"], "champion": "0"}, ANN)

    assert decided["promoted"] is False
    assert decided["reason"] == "version 1 is champion now, the comparison was with 0: trigger promote again"
    assert champions.champion() == first["trained"]["version"]


def test_the_person_who_approved_is_recorded(first: Version, worse: Version) -> None:
    try:
        decided = tasks.promote_to_champion(worse["evaluated"], ANN)

        assert (decided["promoted"], decided["by"]) == (True, "ann")
        assert decided["reason"].startswith("approved by ann; ")
        assert champions.history()[-1].by == "ann"
    finally:
        champions.promote(first["trained"]["version"], by="the gate", why=first["evaluated"]["reason"])


@pytest.mark.parametrize(
    ("response", "by", "reason"),
    [
        ({**ANN, "chosen_options": ["Reject"]}, "ann", "rejected by ann"),
        ({"chosen_options": ["Reject"], "responded_by_user": None}, "timeout", "not approved in time"),
    ],
)
def test_a_rejection_keeps_the_champion_and_is_recorded(
    first: Version, worse: Version, hook: MLflowClientHook, response: dict[str, Any], by: str, reason: str
) -> None:
    version = worse["trained"]["version"]

    assert tasks.keep_challenger(worse["evaluated"], response) == {"promoted": False, "reason": reason, "by": by}
    assert tags(hook, version)["not_promoted_because"] == reason
    assert champions.champion() == first["trained"]["version"]


@pytest.mark.parametrize("promoted", [True, False])
def test_without_a_model_server_nothing_is_called(monkeypatch: pytest.MonkeyPatch, promoted: bool) -> None:
    monkeypatch.setattr(tasks, "MODEL_SERVER", "http://127.0.0.1:9")

    with pytest.raises(AirflowSkipException, match=r"no model server is running \(make serve\)"):
        tasks.call_model_server({"promoted": promoted, "version": "1", "features_uri": ""})


def test_a_champion_with_other_inputs_is_replaced_without_a_comparison(
    first: Version, hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.set_registered_model_alias(NAME, champions.CHAMPION_ALIAS, first["trained"]["version"])
    smaller = replace(HOUSES, features=HOUSES.features[:-1])
    for module in (tasks, training):
        monkeypatch.setattr(module, "PROBLEM", smaller)
    uri = storage.write_table(make_table(make_rows(), smaller), "s3://data/features/smaller/features.parquet")
    selected = {"name": "Ridge", "estimator": "RidgeCV", "hyper_parameters": {}, "reason": "only one", "scores": {}}
    trained = training.train_model(uri, hook.create_experiment(NAME, exist_ok=True), selected)
    version = hook.create_model_version(NAME, trained["model_uri"], run_id=trained["run_id"])["version"]

    evaluated = evaluate({"version": version, "run_id": trained["run_id"], "features_uri": uri}, "run-smaller")

    assert (evaluated["champion"], evaluated["passed"]) == (first["trained"]["version"], True)
    assert "no champion to compare with" in evaluated["reason"]
    assert tasks.promote_to_champion(evaluated, None)["promoted"]
    assert champions.champion() == version


def test_rows_that_the_champion_was_trained_on_are_left_out_of_the_comparison(
    first: Version, hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = hook.get_model_version(NAME, first["trained"]["version"])
    hook.set_model_version_tag(NAME, champion["version"], "features_uri", first["trained"]["features_uri"])
    other_split = replace(HOUSES, holdout_share=0.5)
    monkeypatch.setattr(tasks, "PROBLEM", other_split)
    table = make_table(make_rows(), other_split)

    rows = tasks._remove_training_rows(champion["version"], select_holdout(table, other_split))

    trained = select_training(make_table(make_rows(), HOUSES), HOUSES)["address"]
    assert len(rows) >= 7
    assert not rows["address"].isin(trained).any()
