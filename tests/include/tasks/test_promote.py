"""Two versions of the toy problem, evaluated, promoted and described in the real MLflow."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import mlflow
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from mlflow.tracking import MlflowClient

from include.data.split import select_holdout, select_training
from include.evaluation import holdout
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.services import champions, samples, storage, tracking
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED
from include.serving import model_client
from include.settings import INCLUDE
from include.spec import Problem
from include.tasks import evaluate as evaluation
from include.tasks import promote as tasks
from include.tasks import train as training

from ...toy import AREA, HOUSES, make_rows
from ..conftest import make_table

NAME = "promotion"
PARAMS = asdict(HOUSES.gate) | {"approval": False}
ANN = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "ann"}}
BY_EVENT, BY_HAND = SimpleNamespace(run_type="asset_triggered"), SimpleNamespace(run_type="manual")

Version = dict[str, Any]


def set_problem(patch: pytest.MonkeyPatch, problem: Problem) -> None:
    for module in (tasks, evaluation, training):
        patch.setattr(module, "PROBLEM", problem)


@pytest.fixture(scope="module")
def hook(buckets: None) -> Iterator[MLflowClientHook]:
    """The registered model of the toy problem, in the place of the project's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(champions, "MODEL", NAME)
        set_problem(patch, HOUSES)
        hook = champions.connect()
        hook.create_registered_model(NAME)
        yield hook
        hook.delete_registered_model(NAME)


@pytest.fixture(scope="module")
def features_uri(hook: MLflowClientHook, houses: pd.DataFrame) -> str:
    return storage.write_table(houses, "s3://data/features/promotion/features.parquet")


def train_version(alpha: float, features_uri: str) -> Version:
    """Train and register a version, and return the event of ``train``."""
    hook = champions.connect()
    selected = {"name": "Ridge", "estimator": "RidgeCV", "hyper_parameters": {"alphas": [alpha]}}
    experiment_id = hook.create_experiment(NAME, exist_ok=True)
    trained = training.train_model(features_uri, experiment_id, {**selected, "reason": "only one", "scores": {}})
    tags = {"features_uri": features_uri}
    return champions.describe(hook.create_model_version(champions.MODEL, trained["model_uri"], trained["run_id"], tags))


def predict(request: dict[str, str]) -> None:
    """Predict as ``predict_holdout`` does, in this process."""
    with tracking.connected():
        predicted = mlflow.pyfunc.load_model(request["model_uri"]).predict(storage.read_table(request["data"]))
    storage.write_table(predicted, request["output_uri"])


def prepare(trained: Version, run_id: str) -> None:
    for request in evaluation.prepare_holdout(trained["version"], run_id):
        predict(request)


def evaluate(trained: Version, run_id: str) -> Version:
    prepare(trained, run_id)
    return evaluation.evaluate_challenger(PARAMS, run_id)


def announce(evaluated: Version, promoted: Version | None, kept: Version | None) -> Version:
    event = SimpleNamespace(extra={})
    announced = tasks.write_model_card(evaluated, promoted, kept, {MODEL_EVALUATED: event})
    assert event.extra == announced
    return announced


@pytest.fixture(scope="module")
def first(features_uri: str) -> Version:
    """The first version: evaluated, promoted, described."""
    trained = train_version(1.0, features_uri)
    evaluated = evaluate(trained, "run-1")
    announced = announce(evaluated, tasks.promote_to_champion(evaluated, None), None)
    return {"trained": trained, "evaluated": evaluated, "announced": announced}


@pytest.fixture(scope="module")
def worse(features_uri: str, first: Version) -> Version:
    """A version shrunk to the mean: evaluated against the first, kept, described."""
    trained = train_version(1e6, features_uri)
    evaluated = evaluate(trained, "run-2")
    announced = announce(evaluated, None, tasks.keep_challenger(evaluated, None))
    return {"trained": trained, "evaluated": evaluated, "announced": announced}


def read(evaluated: Version) -> Version:
    return json.loads(storage.read_bytes(evaluated["uri"]))


def contest_of(run_id: str) -> Version:
    return json.loads(storage.read_bytes(evaluation._uri(run_id, "versions.json")))


def tags(version: str) -> dict[str, str]:
    return champions.read_tags(champions.connect().get_model_version(champions.MODEL, version))


def test_the_first_version_is_announced_as_champion(first: Version) -> None:
    version = first["trained"]["version"]

    assert first["announced"] == {
        **first["trained"],
        "champion": version,
        "promoted": True,
        "reason": first["evaluated"]["reason"],
    }
    assert tags(version)["promoted_by"] == "the gate"


def test_the_worse_version_is_announced_as_not_promoted(first: Version, worse: Version) -> None:
    assert worse["announced"]["promoted"] is False
    assert worse["announced"]["champion"] == first["trained"]["version"]
    assert "not worse than the champion: RMSE is" in worse["announced"]["reason"]
    assert tags(worse["trained"]["version"])["not_promoted_because"] == worse["announced"]["reason"]


def test_all_versions_are_judged_by_one_slice_and_their_evaluations_recorded(
    first: Version, worse: Version, hook: MLflowClientHook
) -> None:
    alone, compared = (read(version["evaluated"]) for version in (first, worse))
    found = [json.loads(tags(version["trained"]["version"])["evaluation"]) for version in (first, worse)]
    recorded = champions.read_tags(hook.get_registered_model(NAME))

    assert compared["scores"]["champion"]["rmse"] == alone["scores"]["challenger"]["rmse"]
    assert found[0]["rmse"] == found[1]["champion_rmse"] < found[1]["rmse"]
    assert [one["look"] for one in found] == [1, 2]
    assert found[0]["predictions"] != found[1]["predictions"]
    assert [one["uri"] for one in found] == [version["evaluated"]["uri"] for version in (first, worse)]
    (rows,) = (uri for name, uri in recorded.items() if name.startswith("holdout."))
    assert {one["slice"] for one in (alone, *found)} == {rows}
    assert len(storage.read_table(rows)) == compared["holdout_rows"]


def test_the_evaluation_records_its_data(first: Version, houses: pd.DataFrame) -> None:
    evaluation = read(first["evaluated"])

    assert evaluation["training_rows"] == len(select_training(houses, HOUSES))
    assert evaluation["holdout_rows"] == len(select_holdout(houses, HOUSES))
    assert evaluation["data_sha256"] == sha256(storage.read_bytes(evaluation["features_uri"])).hexdigest()


def test_a_large_holdout_is_judged_by_a_sample_that_stays_when_the_table_grows(
    queue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdout, "MAX_ROWS", 20)
    rows = make_rows(300)
    before, after = (
        storage.write_table(make_table(rows.head(count)), f"s3://data/features/grown/{count}.parquet")
        for count in (200, 300)
    )
    trained = train_version(1.0, before)
    model_uri = champions.connect().get_model_version(champions.MODEL, trained["version"])["source"]
    equal = champions.connect().create_model_version(
        champions.MODEL, model_uri, trained["run_id"], {"features_uri": after}
    )

    evaluated = [evaluate(version, f"run-grown-{number}") for number, version in enumerate([trained, equal])]

    assert [read(each)["look"] for each in evaluated] == [1, 1]
    first, second = (
        storage.read_table(evaluation._uri(f"run-grown-{number}", "holdout.parquet"))["address"] for number in range(2)
    )
    assert len(first) == 20
    pd.testing.assert_series_equal(first, second)


def test_of_many_training_rows_those_count_that_a_model_is_fitted_to(
    first: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = samples.count_rows(first["trained"]["features_uri"], HOUSES)._replace(training=3_000_000)
    monkeypatch.setattr(samples, "count_rows", lambda uri, problem: counts)

    evaluation.prepare_holdout(first["trained"]["version"], "run-many")

    assert contest_of("run-many")["training_rows"] == HOUSES.limits.max_training_rows


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
    assert set(groups["column"]) == set(HOUSES.gate.subgroup_max_rmse)
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
    prepare(worse["trained"], "run-3")
    hook.delete_registered_model_alias(NAME, champions.CHAMPION_ALIAS)
    try:
        assert evaluation.evaluate_challenger(PARAMS, "run-3")["reason"] == worse["evaluated"]["reason"]
    finally:
        hook.set_registered_model_alias(NAME, champions.CHAMPION_ALIAS, first["trained"]["version"])


def test_the_limits_of_the_form_are_applied(first: Version) -> None:
    prepare(first["trained"], "run-4")

    strict = evaluation.evaluate_challenger(PARAMS | {"max_rmse": 1.0}, "run-4")

    assert not strict["passed"]
    assert "1" in strict["reason"]


def test_a_comparison_with_a_champion_that_was_replaced_promotes_nothing(first: Version, worse: Version) -> None:
    decided = tasks.promote_to_champion({**worse["evaluated"], "champion": "0"}, ANN)

    assert decided["promoted"] is False
    assert decided["reason"] == (
        "version 1 is champion now, the decision was about 0: trigger promote with version "
        f"{worse['trained']['version']}"
    )
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
    first: Version, worse: Version, response: dict[str, Any], by: str, reason: str
) -> None:
    version = worse["trained"]["version"]

    assert tasks.keep_challenger(worse["evaluated"], response) == {"promoted": False, "reason": reason, "by": by}
    assert tags(version)["not_promoted_because"] == reason
    assert champions.champion() == first["trained"]["version"]


@pytest.mark.parametrize("promoted", [True, False])
def test_without_a_model_server_nothing_is_called(monkeypatch: pytest.MonkeyPatch, promoted: bool) -> None:
    monkeypatch.setattr(tasks, "MODEL_SERVER", "http://127.0.0.1:9")

    with pytest.raises(AirflowSkipException, match=r"no model server is running \(make serve\)"):
        tasks.call_model_server({"promoted": promoted, "version": "1", "features_uri": ""})


def test_the_model_server_is_called_with_rows_that_it_does_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows()
    rows.loc[[0, 2], AREA] = 900.0  # possible, but not expected
    uri = storage.write_table(make_table(rows), "s3://data/features/unusual/features.parquet")
    monkeypatch.setattr(model_client, "is_up", lambda url: True)
    monkeypatch.setattr(model_client, "smoke_test", lambda url, rows, version: rows.index.tolist())

    called = tasks.call_model_server({"promoted": True, "version": "1", "features_uri": uri})

    assert called == [1, 3, 4, 5, 6]


def test_a_champion_with_other_inputs_is_replaced_without_a_comparison(
    first: Version, hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.set_registered_model_alias(NAME, champions.CHAMPION_ALIAS, first["trained"]["version"])
    smaller = replace(HOUSES, features=HOUSES.features[:-1])
    set_problem(monkeypatch, smaller)
    uri = storage.write_table(make_table(make_rows(), smaller), "s3://data/features/smaller/features.parquet")

    evaluated = evaluate(trained := train_version(1.0, uri), "run-smaller")

    assert (evaluated["champion"], evaluated["passed"]) == (first["trained"]["version"], True)
    assert "no champion to compare with" in evaluated["reason"]
    assert tasks.promote_to_champion(evaluated, None)["promoted"]
    assert champions.champion() == trained["version"]


@pytest.mark.parametrize("row_id", ["address", "plot"])
def test_rows_that_the_champion_was_trained_on_are_left_out_of_the_comparison(
    first: Version, hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch, row_id: str
) -> None:
    hook.set_registered_model_alias(NAME, champions.CHAMPION_ALIAS, first["trained"]["version"])
    other_split = replace(HOUSES, holdout_share=0.5, row_id=row_id)
    set_problem(monkeypatch, other_split)
    numbered_again = make_rows().assign(address=lambda rows: "New " + rows["address"])
    table = make_table(numbered_again.rename(columns={"address": row_id}), other_split)
    uri = storage.write_table(table, f"s3://data/features/other-{row_id}/features.parquet")
    run_id = f"run-other-split-{row_id}"

    evaluation.prepare_holdout(train_version(1.0, uri)["version"], run_id)

    rows = storage.read_table(evaluation._uri(run_id, "holdout.parquet"))
    trained = select_training(make_table(make_rows()), HOUSES)["address"]
    held_out = select_holdout(storage.read_table(uri), other_split)
    assert len(rows) >= 7
    assert not rows[row_id].str.removeprefix("New ").isin(trained).any()
    assert contest_of(run_id)["left_out"] == held_out[row_id].str.removeprefix("New ").isin(trained).sum() > 10


def choose(dag_run: SimpleNamespace, version: str | None = None, run_id: str | None = None) -> str:
    return tasks.choose_version({"version": version}, dag_run, run_id or f"run-{uuid4()}")


@pytest.fixture
def queue(hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registered model of the test's own, without versions."""
    monkeypatch.setattr(champions, "MODEL", f"queue {uuid4()}")
    hook.create_registered_model(champions.MODEL)
    yield
    hook.delete_registered_model(champions.MODEL)


def register(count: int = 1, **tags: str) -> None:
    """Register versions that were not really trained."""
    tags = {"features_uri": "s3://data/features/queue/features.parquet", **tags}
    for _ in range(count):
        champions.connect().create_model_version(champions.MODEL, "s3://anywhere/model", tags=tags)


def test_the_oldest_version_without_a_verdict_is_judged(queue: None) -> None:
    register(promoted_at="2026-11-26")
    register(not_promoted_because="worse")
    register(2)

    assert choose(BY_EVENT) == choose(BY_HAND) == "3"


def test_a_run_keeps_its_version(queue: None) -> None:
    register()
    assert choose(BY_EVENT, run_id="run-kept-version") == "1"
    champions.reject("1", why="worse")
    register()

    assert choose(BY_EVENT, run_id="run-kept-version") == "1"
    assert choose(BY_EVENT) == "2"


def test_an_event_starts_nothing_if_every_version_has_a_verdict(hook: MLflowClientHook, queue: None) -> None:
    assert choose(BY_EVENT) == ""
    register(2, not_promoted_because="worse")
    hook.create_model_version(champions.MODEL, "s3://anywhere/made-by-hand")

    assert choose(BY_EVENT) == ""
    assert choose(BY_HAND) == "2"


def test_the_champion_is_not_judged_again(queue: None) -> None:
    register()
    champions.promote("1", by="ann", why="the only one")

    assert choose(BY_HAND) == ""
    with pytest.raises(AirflowFailException, match="version 1 is the champion already"):
        choose(BY_HAND, "1")


@pytest.mark.parametrize(
    ("version", "message"), [("9", "there is no version to judge"), ("2", "version 2 has no tag features_uri")]
)
def test_a_version_that_cannot_be_judged_is_refused(
    hook: MLflowClientHook, queue: None, version: str, message: str
) -> None:
    register()
    hook.create_model_version(champions.MODEL, "s3://anywhere/made-by-hand")

    with pytest.raises(AirflowFailException, match=message):
        choose(BY_HAND, version)
    assert choose(BY_HAND, "1") == choose(BY_HAND, "01") == "1"


def hand_over(chosen: str | None) -> dict[str, str]:
    event = SimpleNamespace(extra={})
    tasks.hand_over(chosen, "run-7", {MODEL_TRAINED: event})
    return event.extra


def test_a_run_that_failed_leaves_a_verdict_and_hands_over(queue: None) -> None:
    for verdict in ({}, {"not_promoted_because": "worse"}, {}, {}):
        register(**verdict)

    assert hand_over("1")["version"] == "3"

    why = tags("1")["not_promoted_because"]
    assert why == "the evaluation failed in run run-7: clear the failed task, or trigger promote with version 1"
    assert hand_over("3")["version"] == "4"
    with pytest.raises(AirflowSkipException, match="No version waits"):
        hand_over("4")


def test_a_run_without_a_version_hands_nothing_over(queue: None) -> None:
    register()

    with pytest.raises(AirflowSkipException, match="No version waits"):
        hand_over(None)
    assert champions.waiting() != []


def passed(version: str, champion: str) -> Version:
    return {"version": version, "champion": champion, "reason": "better"}


def test_a_promotion_that_is_repeated_after_a_rollback_is_refused(queue: None) -> None:
    register(2)
    champions.promote("1", by="the gate", why="the first")
    assert tasks.promote_to_champion(passed("2", "1"), None)["promoted"]
    champions.promote("1", by="ann", why="2 is wrong")
    champions.hold("2", why="rolled back by ann: 2 is wrong")

    decided = tasks.promote_to_champion(passed("2", "1"), None)

    assert decided == {"promoted": False, "reason": "on hold, rolled back by ann: 2 is wrong", "by": "the gate"}
    assert champions.champion() == "1"
    champions.lift_hold("2")
    assert tasks.promote_to_champion(passed("2", "1"), None)["promoted"]


def test_an_older_version_does_not_come_back(queue: None) -> None:
    register(3)
    champions.promote("3", by="the gate", why="better")
    champions.promote("1", by="ann", why="3 is wrong")

    decided = tasks.promote_to_champion(passed("2", "1"), ANN)

    assert decided["reason"] == "version 3, which is newer, has been champion: only rollback goes back"
    assert champions.champion() == "1"


def test_a_promotion_that_is_repeated_while_it_lasts_changes_nothing(queue: None) -> None:
    register(3)
    for version in ("1", "3", "2"):
        champions.promote(version, by="ann", why="back and forth")
    before = champions.history()

    assert tasks.promote_to_champion(passed("2", "1"), None)["promoted"]
    assert champions.history() == before


def test_a_version_whose_table_is_gone_is_not_tried_again(queue: None) -> None:
    register(features_uri="s3://data/gone/features.parquet")

    with pytest.raises(AirflowFailException, match="the feature table of version 1 is gone"):
        evaluation.prepare_holdout("1", "run-gone")


def test_too_few_holdout_rows_are_a_verdict(houses: pd.DataFrame, queue: None) -> None:
    held_out = houses["_split"] == "holdout"
    few = houses[~held_out | (held_out.cumsum() <= 3)]
    trained = train_version(1.0, storage.write_table(few, "s3://data/features/few/features.parquet"))

    assert evaluation.prepare_holdout(trained["version"], "run-few") == []
    evaluated = evaluation.evaluate_challenger(PARAMS, "run-few")
    announced = announce(evaluated, None, tasks.keep_challenger(evaluated, None))

    assert "3" in announced["reason"]
    assert (announced["promoted"], announced["champion"]) == (False, "")
    assert "evaluation" not in tags(trained["version"])
