from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.config import RAW, SPLIT, TARGET
from include.model.candidates import NAMES, UnknownCandidateError
from include.model.training import build_model, describe_model, train_model

AddFeatures = Callable[[pd.DataFrame], pd.DataFrame]
ONE_ALPHA = {"alphas": [0.5]}


def holdout_of(table: pd.DataFrame) -> pd.Series:
    return table[SPLIT] == "holdout"


def test_an_unknown_hyper_parameter_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownCandidateError, match=r"RidgeCV has no alhpas, depth; it has .*alphas.*fit_intercept"):
        build_model({"depth": 3, "alhpas": [1], "cv": 5})


def test_an_unknown_estimator_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownCandidateError, match=r"there is no candidate Lasso; there are RidgeCV, "):
        build_model({}, "Lasso")


def test_unless_given_the_alphas_are_30_from_a_thousandth_to_10() -> None:
    alphas = build_model({})[-1].alphas

    assert alphas == pytest.approx(10 ** np.linspace(-3, 1, 30))


def test_hyper_parameters_reach_the_fitted_model(table: pd.DataFrame) -> None:
    model, _ = train_model(table, {"alphas": [0.5], "fit_intercept": False})

    for fitted in (model.model, *model.fold_models):
        assert (fitted[-1].alpha_, fitted[-1].intercept_) == (0.5, 0)


def test_the_model_takes_raw_rows(table: pd.DataFrame) -> None:
    model, scores = train_model(table, ONE_ALPHA)
    holdout = table[holdout_of(table)]

    errors = holdout[TARGET] - model.predict(None, holdout[RAW])["prediction"]

    assert np.sqrt((errors**2).mean()) == pytest.approx(scores["holdout_rmse"])


@pytest.mark.parametrize("column", [TARGET, "totlngth"])
def test_holdout_animals_change_the_scores_and_nothing_of_the_model(
    possums: pd.DataFrame, with_features: AddFeatures, column: str
) -> None:
    changed = possums.assign(**{column: possums[column].where(~holdout_of(possums), possums[column] + 9)})

    model, scores = train_model(with_features(possums), ONE_ALPHA)
    other, other_scores = train_model(with_features(changed), ONE_ALPHA)

    assert other.model[-1].coef_.tolist() == model.model[-1].coef_.tolist()
    assert scores["holdout_rmse"] != other_scores["holdout_rmse"]
    np.testing.assert_array_equal(other.residuals, model.residuals)


def test_animals_without_a_tail_length_take_no_part(possums: pd.DataFrame, with_features: AddFeatures) -> None:
    unmeasured = possums.groupby(SPLIT).head(5).index
    known = possums.drop(unmeasured)

    model, scores = train_model(with_features(known), ONE_ALPHA)
    other, other_scores = train_model(
        with_features(possums.assign(taill=known[TARGET].reindex(possums.index))), ONE_ALPHA
    )

    assert other.model[-1].coef_.tolist() == model.model[-1].coef_.tolist()
    assert other_scores == scores


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(feature_age=table["feature_age"] + 0.001),
        lambda table: table.rename(columns={"feature_age": "feature_years"}),
        lambda table: table.drop(columns="feature_age"),
        lambda table: table.assign(feature_new=1.0),
        lambda table: table[[*RAW, TARGET, SPLIT]],
    ],
    ids=["value", "name", "one less", "one more", "none"],
)
def test_features_other_than_the_models_own_are_refused(table: pd.DataFrame, change: AddFeatures) -> None:
    with pytest.raises(ValueError, match="run feature_eng again"):
        train_model(change(table), ONE_ALPHA)


def test_training_twice_gives_the_same_scores_and_leaves_the_table_alone(table: pd.DataFrame) -> None:
    before = table.copy()

    assert train_model(table, ONE_ALPHA)[1] == train_model(table, ONE_ALPHA)[1]
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("estimator", NAMES)
def test_on_animals_it_has_not_seen_the_model_beats_predicting_the_mean(table: pd.DataFrame, estimator: str) -> None:
    training, holdout = table[~holdout_of(table)][TARGET], table[holdout_of(table)][TARGET]

    _, scores = train_model(table, {}, estimator)

    assert scores["holdout_rmse"] < 0.85 * np.sqrt(((holdout - training.mean()) ** 2).mean())
    assert scores["holdout_coverage"] > 0.7
    assert set(scores) == {f"holdout_{name}" for name in ("rmse", "mae", "r2", "coverage", "interval_width")}


@pytest.mark.parametrize("training", [9, 10])
def test_too_few_animals_to_train_on_are_counted(table: pd.DataFrame, training: int) -> None:
    few = pd.concat([table[~holdout_of(table)].head(training), table[holdout_of(table)]])

    with pytest.raises(ValueError, match="9 to train on and 23 held out" if training == 9 else "run feature_eng again"):
        train_model(few, ONE_ALPHA)


def test_what_was_selected_is_described_so_that_it_can_be_fitted_again(table: pd.DataFrame) -> None:
    selected = {"estimator": "ElasticNet", "hyper_parameters": {"alpha": 0.1, "l1_ratio": 0.5}}
    model, _ = train_model(table, selected["hyper_parameters"], selected["estimator"])

    described = describe_model(model.model, selected)
    again, _ = train_model(table, json.loads(described["hyper_parameters"]), described["estimator"])

    assert (described["alpha"], described["max_iter"]) == (0.1, 1000)
    assert again.model[-1].coef_.tolist() == model.model[-1].coef_.tolist()


def test_the_alpha_that_ridge_chose_is_the_one_to_fit_again_with(table: pd.DataFrame) -> None:
    model, _ = train_model(table, {"fit_intercept": True})

    described = describe_model(model.model, {"estimator": "RidgeCV", "hyper_parameters": {"fit_intercept": True}})

    assert json.loads(described["hyper_parameters"]) == {"alphas": [model.model[-1].alpha_], "fit_intercept": True}
    assert len(described["alphas"]) == 30
