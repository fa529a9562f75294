"""Intervals on made-up data, where the truth is known, and on possums."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from include.config import RAW, TARGET
from include.data.table import select_training
from include.model.interval_regressor import PossumModel, bounds
from include.model.intervals import FOLDS, fit_with_intervals, score_intervals
from include.model.training import build_model


def draw(seed: int, count: int, noise: str = "normal") -> tuple[pd.DataFrame, pd.Series]:
    """Rows of three numbers, and a target that depends on them and on noise."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(random.normal(size=(count, 3)), columns=["a", "b", "c"])
    errors = {"normal": random.normal, "skewed": random.exponential}[noise](size=count)
    return rows, rows["a"] - 2 * rows["b"] + errors


def coverage(model: object, noise: str, draws: int = 40) -> float:
    """The share of new rows whose target lies in its interval, over many training sets of 80."""
    inside = []
    for seed in range(draws):
        rows, target = draw(seed, 80 + 20, noise)
        fitted = fit_with_intervals(model, rows[:80], target[:80])
        inside.append(score_intervals(target[80:], fitted.predict(None, rows[80:]))["coverage"])
    return float(np.mean(inside))


@pytest.mark.parametrize("noise", ["normal", "skewed"])
@pytest.mark.parametrize("model", [Ridge(alpha=1.0), KNeighborsRegressor(5)], ids=["ridge", "neighbours"])
def test_nine_in_ten_new_values_lie_in_their_interval(model: object, noise: str) -> None:
    """80 % less sqrt(2 / n) is certain (Barber et al. 2021, theorem 4); stable models come close to 90 %."""
    assert 0.87 <= coverage(model, noise) <= 0.94


def test_even_a_model_that_only_remembers_keeps_the_promise() -> None:
    """Its errors on training rows are zero; intervals made of those would have no width."""
    assert coverage(KNeighborsRegressor(1), "normal") >= 0.87


def test_noise_twice_as_wide_makes_intervals_twice_as_wide() -> None:
    rows, target = draw(0, 80)
    explained = rows["a"] - 2 * rows["b"]
    narrow, wide = (
        score_intervals(target, fit_with_intervals(LinearRegression(), rows, explained + factor * (target - explained))
        .predict(None, rows))["interval_width"]
        for factor in (1, 2)
    )  # fmt: skip

    assert wide == pytest.approx(2 * narrow)


def test_every_row_is_left_out_once_and_its_error_is_that_of_the_model_without_it() -> None:
    rows, target = draw(0, 43)

    fitted = fit_with_intervals(LinearRegression(), rows, target)

    assert len(fitted.fold_models) == FOLDS == 10
    for fold, model in enumerate(fitted.fold_models):
        out = fitted.folds == fold
        assert out.sum() in (4, 5)
        again = LinearRegression().fit(rows[~out], target[~out])
        np.testing.assert_allclose(model.predict(rows), again.predict(rows))
        np.testing.assert_allclose(fitted.residuals[out], np.abs(target[out] - again.predict(rows[out])))


def test_the_prediction_is_that_of_the_model_of_all_rows_and_the_index_is_kept() -> None:
    rows, target = draw(0, 40)
    asked = rows.tail(3).set_axis(["x", "y", "x"])

    predicted = fit_with_intervals(LinearRegression(), rows, target).predict(None, asked)

    assert list(predicted) == ["prediction", "lower", "upper"]
    assert predicted.index.tolist() == ["x", "y", "x"]
    np.testing.assert_allclose(predicted["prediction"], LinearRegression().fit(rows, target).predict(asked))
    assert (predicted["lower"] < predicted["prediction"]).all()
    assert (predicted["prediction"] < predicted["upper"]).all()


def test_the_ends_are_the_order_statistics_of_the_paper() -> None:
    """With 19 rows and 10 %: the 2nd smallest of prediction - error, the 18th smallest of prediction + error."""
    unseen = np.arange(19.0)[None, :]

    assert bounds(unseen, np.zeros(19)) == (1.0, 17.0)
    assert bounds(unseen, np.full(19, 0.5)) == (0.5, 17.5)


@pytest.mark.parametrize(("count", "rank"), [(9, 1), (18, 1), (19, 2), (29, 3), (69, 7), (81, 8)])
def test_the_rank_is_the_whole_part_of_a_tenth_of_the_rows_and_one(count: int, rank: int) -> None:
    lower, upper = bounds(np.arange(float(count))[None, :], np.zeros(count))

    assert (lower[0], upper[0]) == (rank - 1, count - rank)


def test_fewer_than_nine_rows_cannot_promise_nine_in_ten() -> None:
    with pytest.raises(ValueError, match="8 animals are too few for intervals that 90% of animals lie in"):
        bounds(np.zeros((1, 8)), np.zeros(8))


def test_scores_are_the_share_inside_and_the_mean_width() -> None:
    predicted = pd.DataFrame({"lower": [0.0, 0.0, 0.0, 2.0], "upper": [1.0, 1.0, 2.0, 4.0]})

    assert score_intervals(pd.Series([1.0, 1.1, 0.0, 3.0]), predicted) == {"coverage": 0.75, "interval_width": 1.5}


def test_tails_of_possums_lie_in_their_intervals(possums: pd.DataFrame) -> None:
    """Of 23 holdout animals so few lie inside with a chance below 1 in 1000, if nine in ten should."""
    training, holdout = select_training(possums), possums[possums["split"] == "holdout"]
    fitted: PossumModel = fit_with_intervals(build_model({}), training[RAW], training[TARGET])

    scores = score_intervals(holdout[TARGET], fitted.predict(None, holdout[RAW]))

    assert scores["coverage"] * len(holdout) >= binom.ppf(0.001, len(holdout), 0.9)
    assert 3 < scores["interval_width"] < 7
