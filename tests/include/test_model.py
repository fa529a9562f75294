from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from include.config import RAW, SPLIT, TARGET
from include.model import build_model, cross_validate_model, score_predictions, train_model

AddFeatures = Callable[[pd.DataFrame], pd.DataFrame]
ONE_ALPHA = {"alphas": [0.5]}


class Recorder(TransformerMixin, BaseEstimator):
    """Passes rows on and remembers which ones each fit saw."""

    def __init__(self, fits: list[set[int]]) -> None:
        self.fits = fits

    def __sklearn_clone__(self) -> Recorder:
        return Recorder(self.fits)

    def fit(self, rows: pd.DataFrame, target: pd.Series) -> Recorder:
        self.fits.append(set(rows.index))
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows


@pytest.fixture
def noise() -> tuple[pd.DataFrame, pd.Series]:
    """A hundred rows whose target has nothing to do with them."""
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(size=(100, 3)), columns=["a", "b", "c"]), pd.Series(random.normal(size=100))


def holdout_of(table: pd.DataFrame) -> pd.Series:
    return table[SPLIT] == "holdout"


def test_an_unknown_hyper_parameter_is_named_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"RidgeCV has no alhpas, depth; it has .*alphas.*fit_intercept"):
        build_model({"depth": 3, "alhpas": [1], "cv": 5})


def test_unless_given_the_alphas_are_30_from_a_thousandth_to_10() -> None:
    alphas = build_model({})[-1].alphas

    assert alphas == pytest.approx(10 ** np.linspace(-3, 1, 30))


def test_hyper_parameters_reach_the_fitted_model(table: pd.DataFrame) -> None:
    model, _ = train_model(table, {"alphas": [0.5], "fit_intercept": False})

    assert (model[-1].alpha_, model[-1].intercept_) == (0.5, 0)


def test_the_model_takes_raw_rows(table: pd.DataFrame) -> None:
    model, scores = train_model(table, ONE_ALPHA)
    holdout = table[holdout_of(table)]

    errors = holdout[TARGET] - model.predict(holdout[RAW])

    assert np.sqrt((errors**2).mean()) == pytest.approx(scores["holdout_rmse"])


@pytest.mark.parametrize("column", [TARGET, "totlngth"])
def test_holdout_animals_change_the_holdout_scores_and_nothing_else(
    possums: pd.DataFrame, with_features: AddFeatures, column: str
) -> None:
    changed = possums.assign(**{column: possums[column].where(~holdout_of(possums), possums[column] + 9)})

    model, scores = train_model(with_features(possums), ONE_ALPHA)
    other, other_scores = train_model(with_features(changed), ONE_ALPHA)

    assert other[-1].coef_.tolist() == model[-1].coef_.tolist()
    assert {name for name in scores if scores[name] != other_scores[name]} == {
        "holdout_rmse",
        "holdout_mae",
        "holdout_r2",
    }


def test_animals_without_a_tail_length_take_no_part(possums: pd.DataFrame, with_features: AddFeatures) -> None:
    unmeasured = possums.groupby(SPLIT).head(5).index
    known = possums.drop(unmeasured)

    model, scores = train_model(with_features(known), ONE_ALPHA)
    other, other_scores = train_model(
        with_features(possums.assign(taill=known[TARGET].reindex(possums.index))), ONE_ALPHA
    )

    assert other[-1].coef_.tolist() == model[-1].coef_.tolist()
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


def test_each_fold_is_fitted_from_scratch_on_four_fifths_of_the_rows(noise: tuple[pd.DataFrame, pd.Series]) -> None:
    fits: list[set[int]] = []

    cross_validate_model(make_pipeline(Recorder(fits), LinearRegression()), *noise)

    assert [len(rows) for rows in fits] == [80] * 50
    assert len({frozenset(rows) for rows in fits}) == 50


def test_a_model_that_only_remembers_scores_badly_on_noise(noise: tuple[pd.DataFrame, pd.Series]) -> None:
    scores = cross_validate_model(KNeighborsRegressor(n_neighbors=1), *noise)

    assert scores["cv_r2_mean"] < -0.5


def test_possums_tell_nothing_about_a_target_of_noise(possums: pd.DataFrame) -> None:
    shuffled = possums[TARGET].sample(frac=1, random_state=1).set_axis(possums.index)

    assert cross_validate_model(build_model({}), possums[RAW], shuffled)["cv_r2_mean"] < 0.05


def test_the_real_table_meets_the_known_baseline(possums: pd.DataFrame) -> None:
    """Ridge on this table is known to reach RMSE 1.26 +/- 0.22 cm and R2 0.52; predicting the mean, 1.95 cm."""
    scores = cross_validate_model(build_model({}), possums[RAW], possums[TARGET])

    assert scores["cv_rmse_mean"] == pytest.approx(1.26, abs=0.03)
    assert scores["cv_rmse_std"] == pytest.approx(0.22, abs=0.03)
    assert scores["cv_r2_mean"] == pytest.approx(0.52, abs=0.03)


def test_on_animals_it_has_not_seen_the_model_beats_predicting_the_mean(table: pd.DataFrame) -> None:
    training, holdout = table[~holdout_of(table)][TARGET], table[holdout_of(table)][TARGET]

    _, scores = train_model(table, {})

    assert scores["cv_rmse_mean"] < 0.85 * training.std()
    assert scores["holdout_rmse"] < 0.75 * np.sqrt(((holdout - training.mean()) ** 2).mean())


def test_scores_are_root_mean_square_mean_absolute_and_explained() -> None:
    scores = score_predictions(pd.Series([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]))

    assert scores == pytest.approx({"rmse": 3**0.5, "mae": 1.0, "r2": 1 - 9 / 2})
