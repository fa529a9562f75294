"""Tuning and training on the toy table, in the real S3 and MLflow."""

import json
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import mlflow
import numpy as np
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException
from mlflow.tracking import MlflowClient

from include.data.features import build_transformer, compute_features
from include.data.sampling import draw_rows
from include.data.split import select_training
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.model import candidates, training, tuning
from include.services import champions, samples, storage, tracking, tuning_runs
from include.services.assets import FEATURES, MODEL_TRAINED, scratch_uri
from include.spec import SPLIT
from include.tasks import train as tasks
from include.tasks import warm_start

from ...events import inlet_events
from ...toy import HOUSES, make_rows
from ..conftest import Registered, make_table

RUN = "manual__unit"
RIDGE = {"name": "RidgeCV", "estimator": "RidgeCV", "grid": {"alphas": [[1.0]]}}
BROKEN = {"name": "ElasticNet", "estimator": "ElasticNet", "grid": {"alpha": [-1]}}
SELECTED = {
    "name": "Champion",
    "estimator": "RidgeCV",
    "hyper_parameters": {"alphas": [0.5, 2.0]},
    "scores": {"cv_rmse_mean": 21.5},
    "reason": "the only one",
}


@pytest.fixture(scope="module", autouse=True)
def _toy_problem() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "PROBLEM", HOUSES)
        patch.setattr(warm_start, "PROBLEM", HOUSES)
        yield


@pytest.fixture(scope="module")
def features_uri(buckets: None, houses: pd.DataFrame) -> str:
    return storage.write_table(houses, "s3://data/unit-training/features.parquet")


def left() -> list[str]:
    return storage.list_objects(scratch_uri(RUN))


def as_ti(scratch: dict[str, str] | None) -> SimpleNamespace:
    return SimpleNamespace(xcom_pull=lambda task_id: scratch)


def test_the_choice_is_among_the_scored_candidates_and_the_scratch_is_deleted(
    features_uri: str, experiment_id: str, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    scratch = tasks.create_scratch(features_uri, experiment_id, RUN)
    tasks.tune_candidate(RIDGE, scratch)
    with pytest.raises(AirflowFailException, match=r"ElasticNet with .* cannot be fitted"):
        tasks.tune_candidate(BROKEN, scratch)
    assert left() == [f"{scratch['uri']}/rows.parquet", f"{scratch['uri']}/scores/RidgeCV.parquet"]

    selected = tasks.select_candidate([RIDGE, BROKEN], as_ti(scratch))
    tasks.delete_scratch(scratch)

    assert selected["name"] == "RidgeCV"
    assert "Failed and left out: ElasticNet" in caplog.text
    assert left() == []
    assert client.get_run(scratch["tuning_id"]).info.status == "FINISHED"


def test_candidates_are_chosen_by_a_sample_of_the_training_rows(
    features_uri: str, experiment_id: str, houses: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "BUDGET", 40)
    scratch = tasks.create_scratch(features_uri, experiment_id, RUN)
    rows = storage.read_table(f"{scratch['uri']}/rows.parquet")
    tasks.delete_scratch(scratch)

    drawn = draw_rows(select_training(houses, HOUSES), 40, HOUSES)[[*HOUSES.inputs, "price"]]
    pd.testing.assert_frame_equal(rows, drawn.reset_index(drop=True))


def test_without_any_score_there_is_nothing_to_choose_from(features_uri: str, experiment_id: str) -> None:
    scratch = tasks.create_scratch(features_uri, experiment_id, RUN)
    try:
        with pytest.raises(AirflowFailException):
            tasks.select_candidate([RIDGE], as_ti(scratch))
    finally:
        tasks.delete_scratch(scratch)


@pytest.mark.parametrize(("listed", "scratch"), [(None, {"uri": "s3://data/x"}), ([RIDGE], None)])
def test_a_choice_after_a_failed_task_is_not_tried_again(listed: Any, scratch: Any) -> None:
    with pytest.raises(AirflowFailException, match="a task before this one failed"):
        tasks.select_candidate(listed, as_ti(scratch))


def test_a_tuning_that_breaks_off_is_cleaned_up(features_uri: str, experiment_id: str, client: MlflowClient) -> None:
    scratch = tasks.create_scratch(features_uri, experiment_id, RUN)

    tasks.delete_scratch(scratch)

    assert left() == []
    assert client.get_run(scratch["tuning_id"]).info.status == "KILLED"


def test_a_setup_that_fails_leaves_no_objects(
    features_uri: str, experiment_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_runs, "start_tuning", lambda experiment_id: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        tasks.create_scratch(features_uri, experiment_id, RUN)

    assert left() == []


def test_the_candidates_of_the_form_replace_all_others(features_uri: str) -> None:
    listed = tasks.list_candidates(features_uri, {"candidates": {"ElasticNet": {"alpha": [0.1]}}})

    assert [(candidate["name"], candidate["grid"]) for candidate in listed] == [("ElasticNet", {"alpha": [0.1]})]


@pytest.mark.parametrize("chosen", [{"NoSuchModel": {}}, {"RidgeCV": {"no_such_parameter": [1]}}])
def test_an_unknown_candidate_is_an_error_that_is_not_retried(features_uri: str, chosen: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=r"no_such|NoSuchModel"):
        tasks.list_candidates(features_uri, {"candidates": chosen})


def test_the_candidates_are_those_for_as_many_rows_as_are_fitted(
    monkeypatch: pytest.MonkeyPatch, registered: Registered
) -> None:
    counts = samples.Counts(splits={}, training=30_000, mean=0.0)
    monkeypatch.setattr(samples, "count_rows", lambda uri, problem: counts)
    many = tasks.list_candidates("", {"candidates": {}})
    monkeypatch.setattr(tasks, "PROBLEM", replace(HOUSES, limits=replace(HOUSES.limits, max_training_rows=20_000)))
    few = tasks.list_candidates("", {"candidates": {}})

    assert [candidate["name"] for candidate in many][-1] == "HistGradientBoostingRegressor"
    assert [candidate["name"] for candidate in few][-1] == "GradientBoostingRegressor"


def test_a_champion_that_cannot_be_fitted_to_so_many_rows_is_no_candidate(
    features_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        warm_start,
        "champion_candidate",
        lambda features_uri: [{"name": "Champion", "estimator": "ExtraTreesRegressor", "grid": {}}],
    )
    assert tasks.list_candidates(features_uri, {"candidates": {}})[-1]["name"] == "Champion"

    limited = [replace(candidate, max_rows=86) for candidate in candidates.CANDIDATES]
    monkeypatch.setattr(candidates, "CANDIDATES", limited)

    assert tasks.list_candidates(features_uri, {"candidates": {}}) == []


@pytest.fixture(scope="module")
def trained(features_uri: str, experiment_id: str, client: MlflowClient) -> SimpleNamespace:
    """A model trained on the toy table, and its run."""
    logged = tasks.train_model(features_uri, experiment_id, SELECTED)
    return SimpleNamespace(**logged, run=client.get_run(logged["run_id"]))


def test_the_run_has_the_parameters_that_fitting_again_takes(trained: SimpleNamespace, houses: pd.DataFrame) -> None:
    params = trained.run.data.params
    rows = {"train": len(houses[houses["_split"] == "train"]), "holdout": len(houses[houses["_split"] == "holdout"])}

    assert trained.run.info.run_name == trained.run.data.tags["candidate"] == "Champion"
    assert trained.run.data.tags["selection"] == "the only one"
    assert (params["estimator"], params["alphas"], params["fit_intercept"]) == ("RidgeCV", "[0.5, 2.0]", "True")
    (alpha,) = json.loads(params["hyper_parameters"])["alphas"]
    assert alpha in (0.5, 2.0)
    assert {split: int(params[f"{split}_rows"]) for split in rows} == rows


def test_the_run_has_the_scores_of_holdout_and_cross_validation(trained: SimpleNamespace, houses: pd.DataFrame) -> None:
    _, scores = training.train_model(houses, HOUSES, "RidgeCV", SELECTED["hyper_parameters"])

    assert trained.run.data.metrics == pytest.approx(scores | SELECTED["scores"])
    with tracking.connected():
        logged = mlflow.get_logged_model(trained.model_uri.removeprefix("models:/"))
    assert {metric.key for metric in logged.metrics} == set(trained.run.data.metrics)


def test_the_run_leads_to_the_table_that_it_was_trained_from(trained: SimpleNamespace, features_uri: str) -> None:
    (used,) = trained.run.inputs.dataset_inputs

    assert json.loads(used.dataset.source) == {"uri": features_uri}
    assert json.loads(used.dataset.profile)["num_rows"] == 120
    assert used.tags[0].value == "training"


def test_the_run_has_the_errors_of_training_rows_that_the_model_had_not_seen(
    trained: SimpleNamespace, houses: pd.DataFrame
) -> None:
    with tracking.connected():
        content = mlflow.artifacts.load_text(f"{trained.run.info.artifact_uri}/{tracking.OUT_OF_FOLD_ERRORS}")
    errors = pd.read_csv(StringIO(content))["error"]

    assert len(errors) == len(select_training(houses, HOUSES))
    assert errors.min() >= 0
    assert 10 < np.sqrt((errors**2).mean()) < 40  # the noise is 20


def test_the_hash_is_that_of_the_models_files(trained: SimpleNamespace, features_uri: str) -> None:
    assert vars(trained)[HASH_TAG] == MLflowPyfuncHook().hash_model(trained.model_uri)
    assert trained.features_uri == features_uri


def test_of_many_rows_a_model_is_fitted_to_as_many_as_the_limit_allows(
    experiment_id: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = replace(HOUSES, limits=replace(HOUSES.limits, max_training_rows=1000))
    monkeypatch.setattr(tasks, "PROBLEM", limited)
    rows = make_rows(1500)
    raw = make_table(rows)[[*rows.columns, SPLIT]]
    training = select_training(raw, HOUSES)
    transformer = build_transformer(HOUSES).fit(draw_rows(training, 1000, HOUSES)[HOUSES.inputs])
    table = raw.join(compute_features(raw, transformer, HOUSES))
    uri = storage.write_table(table, "s3://data/unit-training/many.parquet")

    run = client.get_run(tasks.train_model(uri, experiment_id, SELECTED)["run_id"])

    assert run.data.params["fitted_rows"] == "1000"
    assert run.data.params["train_rows"] == str(len(training))
    assert run.data.metrics["holdout_rmse"] < 40


@pytest.mark.parametrize(
    ("registered_model", "branch"), [(True, "model_already_registered"), (False, "create_registered_model")]
)
def test_the_registered_model_is_created_only_if_it_is_missing(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, registered_model: bool, branch: str
) -> None:
    if not registered_model:
        monkeypatch.setattr(champions, "MODEL", "not registered")

    assert tasks.check_if_model_already_registered() == f"register_model.{branch}"


@pytest.mark.parametrize(
    ("run_type", "trained", "continues"),
    [("asset_triggered", False, True), ("asset_triggered", True, False), ("manual", True, True)],
)
def test_a_run_trains_from_the_newest_table_unless_an_event_says_what_is_done(
    registered: Registered, run_type: str, trained: bool, continues: bool
) -> None:
    uris, run_id = [f"s3://data/unit-training/{uuid4()}" for _ in range(3)], f"{run_type}__{uuid4()}"
    if trained:
        registered.tag("1", "features_uri", uris[-1])
    events = inlet_events(FEATURES, *({"uri": uri} for uri in uris))

    found = tasks.fetch_feature_df(SimpleNamespace(run_type=run_type), run_id, events)

    assert found == (uris[-1] if continues else "")


@pytest.mark.parametrize(("maker", "continues"), [("this", True), ("another", False)])
def test_a_run_that_is_cleared_trains_again_although_it_made_a_version(
    registered: Registered, maker: str, continues: bool
) -> None:
    uri, run_id = f"s3://data/unit-training/{uuid4()}", f"asset_triggered__{uuid4()}"
    makers = {"this": run_id, "another": f"asset_triggered__{uuid4()}"}
    registered.tag("1", "features_uri", uri)
    registered.tag("1", champions.DAG_RUN_ID, makers[maker])

    dag_run = SimpleNamespace(run_type="asset_triggered")
    found = tasks.fetch_feature_df(dag_run, run_id, inlet_events(FEATURES, {"uri": uri}))

    assert found == (uri if continues else "")


def test_an_event_without_a_table_is_passed_over(registered: Registered) -> None:
    uri, run_id = f"s3://data/unit-training/{uuid4()}", f"asset_triggered__{uuid4()}"
    events = inlet_events(FEATURES, {"uri": uri}, {})

    assert tasks.fetch_feature_df(SimpleNamespace(run_type="asset_triggered"), run_id, events) == uri


def test_the_event_names_version_run_and_table() -> None:
    event = SimpleNamespace(extra={})
    version = {"version": "4", "run_id": "r", "tags": [{"key": "features_uri", "value": "s3://data/f.parquet"}]}

    tasks.end({"model_version": version}, {MODEL_TRAINED: event})

    assert event.extra == {"version": "4", "run_id": "r", "features_uri": "s3://data/f.parquet"}
