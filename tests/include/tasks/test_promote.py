from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException
from mlflow.tracking import MlflowClient

from include import config
from include.data.table import read_possums
from include.evaluation.gate import Rules
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.model.training import train_model
from include.platform import champions, storage, tracking
from include.tasks import promote as steps
from include.tasks import rollback

RULES = Rules(**config.GATE)


@pytest.fixture(scope="module")
def registry(buckets: None) -> Iterator[None]:
    """A registered model of its own, in the real registry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "REGISTERED_MODEL", "promotion")
        hook = MLflowClientHook("GET", config.MLFLOW_CONN_ID)
        hook.create_registered_model("promotion")
        yield
        hook.delete_registered_model("promotion")


@pytest.fixture(scope="module")
def hook(registry: None) -> MLflowClientHook:
    return MLflowClientHook("GET", config.MLFLOW_CONN_ID)


@pytest.fixture(scope="module")
def train(hook: MLflowClientHook, with_features: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[..., dict]:
    """Trains and registers a version, as ``train`` does, and returns what ``train`` says of it."""
    table = with_features(read_possums(config.POSSUM_CSV))
    features_uri = storage.write_table(table, f"s3://{config.DATA_BUCKET}/features/promotion/features.parquet")
    experiment_id = hook.create_experiment("promotion")

    def train(alphas: list[float]) -> dict[str, str]:
        selected = {"name": "Ridge", "estimator": "RidgeCV", "hyper_parameters": {"alphas": alphas}, "reason": "alone"}
        model, scores = train_model(table, selected["hyper_parameters"])
        logged = tracking.log_training(
            model, table, scores, selected=selected, experiment_id=experiment_id, source=features_uri
        )
        made = hook.create_model_version("promotion", logged["model_uri"], run_id=logged["run_id"])
        return {"version": made["version"], "run_id": logged["run_id"], "features_uri": features_uri}

    return train


def predict(asked: dict[str, str]) -> None:
    """What ``predict_holdout`` does, in this process."""
    rows = storage.read_table(asked["data"])
    with tracking.connected():
        predicted = mlflow.pyfunc.load_model(asked["model_uri"]).predict(rows)
    frame = predicted if isinstance(predicted, pd.DataFrame) else pd.DataFrame({"prediction": predicted})
    storage.write_table(frame, asked["output_uri"])


def evaluate(trained: dict[str, str], run_id: str) -> dict[str, Any]:
    for asked in steps.list_contestants(trained, run_id):
        predict(asked)
    return steps.evaluate(run_id, RULES)


@pytest.fixture(scope="module")
def first(train: Callable[..., dict]) -> dict[str, Any]:
    """The first version: evaluated, promoted, described."""
    trained = train([1.0])
    evaluated = evaluate(trained, "run-1")
    announced = steps.write_card(evaluated["uri"], steps.promote(evaluated, "the gate", ""))
    return {"trained": trained, "evaluated": evaluated, "announced": announced}


@pytest.fixture(scope="module")
def worse(train: Callable[..., dict], first: dict[str, Any]) -> dict[str, Any]:
    """A version shrunk to the mean: evaluated against the first, kept, described."""
    trained = train([1e6])
    evaluated = evaluate(trained, "run-2")
    announced = steps.write_card(evaluated["uri"], steps.keep(evaluated, "the gate", ""))
    return {"trained": trained, "evaluated": evaluated, "announced": announced}


def tags(hook: MLflowClientHook, version: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in hook.get_model_version("promotion", version).get("tags", [])}


def test_the_first_version_is_announced_as_champion(first: dict[str, Any], hook: MLflowClientHook) -> None:
    version = first["trained"]["version"]

    assert first["announced"] == {
        **first["trained"],
        "champion": version,
        "promoted": True,
        "reason": first["evaluated"]["reason"],
    }
    assert tags(hook, version)["promoted_by"] == "the gate"


def test_the_worse_version_is_announced_as_not_promoted(
    first: dict[str, Any], worse: dict[str, Any], hook: MLflowClientHook
) -> None:
    assert worse["announced"]["promoted"] is False
    assert worse["announced"]["champion"] == first["trained"]["version"]
    assert "not worse than the champion: RMSE is" in worse["announced"]["reason"]
    assert tags(hook, worse["trained"]["version"])["not_promoted_because"] == worse["announced"]["reason"]


def test_both_models_are_scored_on_the_same_holdout_animals(first: dict[str, Any], worse: dict[str, Any]) -> None:
    found = json.loads(storage.read_bytes(worse["evaluated"]["uri"]))
    alone = json.loads(storage.read_bytes(first["evaluated"]["uri"]))

    assert found["holdout_rows"] == 23
    assert found["scores"][1]["rmse"] == alone["scores"][0]["rmse"]
    assert found["scores"][0]["rmse"]["value"] > found["scores"][1]["rmse"]["value"]


def test_mlflows_own_evaluation_agrees(first: dict[str, Any]) -> None:
    with tracking.connected():
        run = MlflowClient().get_run(first["trained"]["run_id"])

    metrics = run.data.metrics
    assert metrics["evaluation_root_mean_squared_error"] == pytest.approx(metrics["evaluation_rmse"])
    assert metrics["evaluation_mean_absolute_error"] == pytest.approx(metrics["evaluation_mae"])
    assert metrics["evaluation_r2_score"] == pytest.approx(metrics["evaluation_r2"])
    assert metrics["evaluation_rmse"] == pytest.approx(metrics["holdout_rmse"])
    assert run.info.status == "FINISHED"


def test_picture_tables_and_card_are_in_the_run(first: dict[str, Any], tmp_path: Path) -> None:
    with tracking.connected():
        folder = Path(mlflow.artifacts.download_artifacts(run_id=first["trained"]["run_id"], dst_path=str(tmp_path)))

    assert (folder / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(folder / "evaluation_subgroups.csv")) == 11
    assert pd.read_csv(folder / "evaluation_importances.csv")["column"][0] == "totlngth"
    assert (folder / "model_card.html").read_text().count("data:image/png;base64,") == 1
    card = (folder / "model_card.md").read_text()
    for fact in (
        "scikit-learn==",
        "code_version",
        "Lindenmayer",
        "sex f",
        "**champion**",
        "GNU General Public License",
    ):
        assert fact in card.replace("Code version", "code_version")


def test_the_descriptions_lead_to_the_card(worse: dict[str, Any], hook: MLflowClientHook) -> None:
    version = hook.get_model_version("promotion", worse["trained"]["version"])

    assert f"runs/{worse['trained']['run_id']}/artifacts/model_card.html" in version["description"]
    assert "Not promoted: " in version["description"]


def test_an_evaluation_done_twice_is_there_once(first: dict[str, Any], worse: dict[str, Any]) -> None:
    again = evaluate(worse["trained"], "run-2")

    assert again == worse["evaluated"]


def test_what_is_promoted_meanwhile_does_not_count(
    first: dict[str, Any], worse: dict[str, Any], hook: MLflowClientHook
) -> None:
    for asked in steps.list_contestants(worse["trained"], "run-3"):
        predict(asked)
    hook.delete_registered_model_alias("promotion", config.CHAMPION_ALIAS)
    try:
        assert steps.evaluate("run-3", RULES)["reason"] == worse["evaluated"]["reason"]
    finally:
        hook.set_registered_model_alias("promotion", config.CHAMPION_ALIAS, first["trained"]["version"])


def test_a_comparison_with_a_champion_since_replaced_promotes_nobody(
    first: dict[str, Any], worse: dict[str, Any], hook: MLflowClientHook
) -> None:
    decided = steps.promote({**worse["evaluated"], "champion": "0"}, "ann", "ann approved it")

    assert decided["promoted"] is False
    assert decided["reason"] == "version 1 is champion now, the comparison was with 0: trigger promote again"
    assert champions.champion(hook) == first["trained"]["version"]


def test_a_rollback_needs_a_champion_to_go_back_to(first: dict[str, Any], worse: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="no rollback: promotion has no champion before version"):
        rollback.choose_version(None)


@pytest.mark.parametrize(("version", "message"), [("99", "no rollback"), ("1", "version 1 is the champion already")])
def test_a_rollback_to_nowhere_is_refused(version: str, message: str, first: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=message):
        rollback.choose_version(version)


@pytest.mark.parametrize("predicted", [[37.0, float("nan"), 36.0, 36.0, 36.0], [37.0], '{"prediction":{"0":null}}'])
def test_a_version_that_does_not_predict_does_not_become_champion(
    predicted: Any, first: dict[str, Any], worse: dict[str, Any], hook: MLflowClientHook
) -> None:
    with pytest.raises(AirflowFailException, match="not 5 lengths"):
        rollback.roll_back(worse["trained"]["version"], predicted, by="ann", why="a try")

    assert champions.champion(hook) == first["trained"]["version"]


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_version_that_predicts_becomes_champion_again_with_who_and_why(
    as_frame: bool, first: dict[str, Any], worse: dict[str, Any], hook: MLflowClientHook
) -> None:
    steps.promote(worse["evaluated"], "ann", "ann approved it")
    chosen = rollback.choose_version(None)
    with tracking.connected():
        predicted = mlflow.pyfunc.load_model(chosen["model_uri"]).predict(pd.DataFrame(chosen["rows"]))
    answer = predicted.to_json() if as_frame else predicted["prediction"].tolist()

    rollback.roll_back(chosen["version"], answer, by="bob", why="too short")

    assert champions.champion(hook) == first["trained"]["version"]
    assert [(reign.by, reign.why) for reign in champions.history(hook)][-1] == ("bob", "too short")
    description = hook.get_model_version(config.REGISTERED_MODEL, chosen["version"])["description"]
    assert description.startswith("Champion again, as bob wanted: too short. Before that: ")
    assert description.count("Champion again") == 1  # though this test has gone back to it before
    assert champions.history(hook)[-2].why.startswith("ann approved it; absolute floor")
