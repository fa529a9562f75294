"""The candidates, the model and the gate on the possum table."""

import pandas as pd
import pytest
from scipy.stats import binom

from include.data.split import select_holdout, select_training
from include.evaluation.holdout import add_shuffled, assess
from include.model.candidates import list_candidates
from include.model.interval_regressor import IntervalRegressor
from include.model.training import train_model
from include.model.tuning import choose, score_candidate, summarize, summarize_all
from include.problem import PROBLEM

RIDGE = {"name": "RidgeCV", "estimator": "RidgeCV", "grid": {}}

Trained = tuple[IntervalRegressor, dict[str, float]]


@pytest.fixture(scope="module")
def ridge(possums: pd.DataFrame) -> Trained:
    return train_model(possums, PROBLEM, "RidgeCV", {})


def test_ridge_is_chosen_as_the_simplest_near_the_best(possums: pd.DataFrame) -> None:
    rows = select_training(possums, PROBLEM)
    listed = list_candidates({}, len(rows))

    chosen = choose(
        summarize_all([score_candidate(candidate, rows, PROBLEM) for candidate in listed], listed), PROBLEM.unit
    )

    assert chosen["name"] == "RidgeCV"
    assert chosen["scores"]["cv_rmse_mean"] == pytest.approx(1.398, abs=0.0005)
    assert chosen["reason"].endswith("of the best, ElasticNet with 1.321 cm")


def test_cross_validation_meets_the_known_baseline(possums: pd.DataFrame) -> None:
    """Ridge on all 104 rows is known to reach RMSE 1.26 +/- 0.22 cm and R2 0.52; predicting the mean, 1.95 cm."""
    best = summarize(score_candidate(RIDGE, possums, PROBLEM)).iloc[0]

    assert best["cv_rmse_mean"] == pytest.approx(1.26, abs=0.03)
    assert best["cv_rmse_std"] == pytest.approx(0.22, abs=0.03)
    assert best["cv_r2_mean"] == pytest.approx(0.52, abs=0.03)


def test_the_holdout_scores_are_known_and_tails_lie_in_their_intervals(ridge: Trained) -> None:
    _, scores = ridge

    assert scores["holdout_rmse"] == pytest.approx(1.2417, abs=0.0001)
    assert scores["holdout_mae"] == pytest.approx(0.9376, abs=0.0001)
    assert scores["holdout_r2"] == pytest.approx(0.5615, abs=0.0001)
    # Of 23 holdout rows so few lie inside with a chance below 1 in 1000, if nine in ten should.
    assert scores["holdout_coverage"] * 23 >= binom.ppf(0.001, 23, 0.9)
    assert 3 < scores["holdout_interval_width"] < 7


def test_the_first_version_passes_the_gate_and_total_length_matters_most(possums: pd.DataFrame, ridge: Trained) -> None:
    mean = select_training(possums, PROBLEM)[PROBLEM.target.name].mean()
    holdout = select_holdout(possums, PROBLEM).reset_index(drop=True)
    answer = ridge[0].predict(None, add_shuffled(holdout, PROBLEM))

    found = assess(holdout, {"challenger": answer}, PROBLEM, PROBLEM.gate, version="1", mean=mean)

    assert found["verdict"]["passed"]
    assert found["verdict"]["reason"] == (
        "RMSE 1.24 cm on 23 rows and, at 95% confidence, at most 1.82 cm is within the limit of 1.90 cm; RMSE is 0.65 "
        "x that of predicting the mean of the training rows, 1.91 cm on the same 23 rows and, at 97.5% confidence "
        "(evaluation 1 on these rows), at most 0.92 x, below 1.00 x; no champion to compare with"
    )
    error = found["scores"]["challenger"]["rmse"]
    assert error == pytest.approx({"value": 1.2417, "low": 0.8527, "high": 1.9767}, abs=0.0001)
    assert found["importances"][0]["column"] == "totlngth"
