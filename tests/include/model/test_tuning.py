from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import RepeatedKFold, cross_val_score

from include.model import tuning
from include.model.candidates import CANDIDATES, NAMES, Candidate
from include.model.training import build_model
from include.model.tuning import CandidateError, choose, score_candidate, summarize, summarize_all
from include.spec import Category, Number
from tests.toy import HOUSES

RIDGE = {"name": "RidgeCV", "estimator": "RidgeCV", "grid": {}}
NET = {"name": "ElasticNet", "estimator": "ElasticNet", "grid": {"alpha": [0.1, 1], "l1_ratio": [0.5]}}
ALL = [
    {"name": name, "estimator": name, "grid": candidate.grid} for name, candidate in zip(NAMES, CANDIDATES, strict=True)
]


class Recorder(RegressorMixin, BaseEstimator):
    """Predicts the mean and records the features of each fit and each prediction."""

    fits: list[np.ndarray] = []
    predictions: list[np.ndarray] = []

    def fit(self, features: np.ndarray, target: np.ndarray) -> Recorder:
        self.fits.append(features)
        self.mean_ = target.mean()
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        self.predictions.append(features)
        return np.full(len(features), self.mean_)


@pytest.fixture(scope="module")
def rows(training: pd.DataFrame) -> pd.DataFrame:
    return training[[*HOUSES.inputs, "price"]]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    """The estimator of every candidate."""
    monkeypatch.setattr(Candidate, "build", lambda self, setting: Recorder())
    Recorder.fits, Recorder.predictions = [], []
    return Recorder


def settings(**means: float) -> pd.DataFrame:
    """A summary: the mean RMSE of each candidate, best first, every standard error 0.1."""
    return pd.DataFrame(
        [
            {"candidate": name, "estimator": name, "hyper_parameters": "{}", "cv_rmse_mean": mean, "cv_rmse_se": 0.1}
            for name, mean in sorted(means.items(), key=lambda item: item[1])
        ]
    )


def test_every_setting_is_scored_on_50_folds(rows: pd.DataFrame) -> None:
    scores = score_candidate(NET, rows, HOUSES)

    assert list(scores) == ["candidate", "estimator", "hyper_parameters", "fold", "rmse", "mae", "r2"]
    assert set(scores["hyper_parameters"]) == {'{"alpha": 0.1, "l1_ratio": 0.5}', '{"alpha": 1, "l1_ratio": 0.5}'}
    assert scores.groupby("hyper_parameters")["fold"].apply(list).tolist() == [list(range(50))] * 2


@pytest.mark.parametrize(("budget", "repeats"), [(87, 1), (2 * 87, 2), (10**6, 10)])
def test_more_rows_are_tested_in_fewer_repeats(
    rows: pd.DataFrame, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch, budget: int, repeats: int
) -> None:
    monkeypatch.setattr(tuning, "BUDGET", budget)

    score_candidate(RIDGE, rows, HOUSES)

    assert len(recorder.fits) == 5 * repeats
    assert sum(len(features) for features in recorder.predictions) == repeats * 87


def test_the_transformer_learns_from_the_training_rows_of_the_fold_only(
    rows: pd.DataFrame, recorder: type[Recorder]
) -> None:
    score_candidate(RIDGE, rows, HOUSES)

    assert len(recorder.fits) == 50
    for features in recorder.fits:
        assert features.mean(axis=0) == pytest.approx(0, abs=1e-9)  # scaled by themselves
    for features in recorder.predictions:
        assert np.abs(features.mean(axis=0)).max() > 0.01  # scaled by the others
    assert all(len(seen) + len(unseen) == 87 for seen, unseen in zip(recorder.fits, recorder.predictions, strict=True))


def test_a_fold_has_the_score_of_the_whole_model(rows: pd.DataFrame) -> None:
    splits = RepeatedKFold(n_splits=5, n_repeats=10, random_state=0)
    model = build_model(HOUSES, "ElasticNet", {"alpha": 0.1, "l1_ratio": 0.5})
    rmse = -cross_val_score(model, rows[HOUSES.inputs], rows["price"], cv=splits, scoring="neg_root_mean_squared_error")

    scores = score_candidate({**NET, "grid": {"alpha": [0.1], "l1_ratio": [0.5]}}, rows, HOUSES)

    np.testing.assert_allclose(scores["rmse"], rmse)


def test_a_target_of_noise_cannot_be_predicted(rows: pd.DataFrame) -> None:
    shuffled = rows["price"].sample(frac=1, random_state=1).to_numpy()

    scores = score_candidate(RIDGE, rows.assign(price=shuffled), HOUSES)

    assert scores["r2"].mean() < 0.05


@pytest.mark.parametrize("candidate", ALL, ids=NAMES)
def test_constant_and_missing_features_and_many_categories_do_not_break_tuning(
    training: pd.DataFrame, candidate: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MAX_REPEATS", 1)
    odd = replace(
        HOUSES, features=(*HOUSES.features, Number("constant"), Number("rare"), Category("address")), row_id=None
    )
    rows = training.assign(constant=1.0, rare=[1.0] + [np.nan] * (len(training) - 1))

    scores = score_candidate(candidate, rows, odd)

    assert np.isfinite(scores[["rmse", "mae", "r2"]]).all(axis=None)


def test_a_candidate_that_cannot_be_fitted_is_named_with_its_setting(rows: pd.DataFrame) -> None:
    with pytest.raises(CandidateError, match=r'Net with {"alpha": -1} cannot be fitted: The \'alpha\' parameter'):
        score_candidate({"name": "Net", "estimator": "ElasticNet", "grid": {"alpha": [-1]}}, rows, HOUSES)


def test_predictions_that_are_not_finite_are_an_error(
    rows: pd.DataFrame, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "predict", lambda self, features: np.full(len(features), np.nan))

    with pytest.raises(CandidateError, match="contain NaN"):
        score_candidate(RIDGE, rows, HOUSES)


def test_a_summary_has_mean_deviation_and_the_corrected_standard_error() -> None:
    folds = pd.DataFrame({"rmse": [1.0, 3.0], "mae": [1.0, 1.0], "r2": [0.0, 0.5]})
    scores = folds.assign(candidate="A", estimator="RidgeCV", hyper_parameters="{}", fold=[0, 1])

    (row,) = summarize(scores).to_dict("records")

    assert (row["cv_rmse_mean"], row["cv_rmse_std"], row["cv_r2_mean"]) == (2.0, pytest.approx(2**0.5), 0.25)
    # Nadeau and Bengio: variance times (1 / folds + test rows / training rows)
    assert row["cv_rmse_se"] == pytest.approx((2 * (1 / 2 + 1 / 4)) ** 0.5)


def test_the_best_setting_comes_first(rows: pd.DataFrame) -> None:
    summary = summarize(score_candidate({**NET, "grid": {"alpha": [100, 0.01, 10]}}, rows, HOUSES))

    assert json.loads(summary["hyper_parameters"].iloc[0]) == {"alpha": 0.01}
    assert summary["cv_rmse_mean"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("means", "winner"),
    [
        ({"ExtraTreesRegressor": 1.00, "RidgeCV": 1.099, "ElasticNet": 1.05}, "RidgeCV"),
        ({"ExtraTreesRegressor": 1.00, "RidgeCV": 1.101, "ElasticNet": 1.05}, "ElasticNet"),
        ({"ExtraTreesRegressor": 1.00, "RidgeCV": 1.2, "ElasticNet": 1.2}, "ExtraTreesRegressor"),
        ({"RidgeCV": 1.00, "GradientBoostingRegressor": 1.0}, "RidgeCV"),
        ({"GradientBoostingRegressor": 3.0}, "GradientBoostingRegressor"),
    ],
    ids=["within one error", "beyond one error", "none near", "equal", "alone"],
)
def test_the_simplest_within_one_standard_error_of_the_best_wins(means: dict[str, float], winner: str) -> None:
    assert choose(settings(**means), "k€")["name"] == winner


def test_a_better_setting_of_the_same_candidate_is_preferred() -> None:
    summary = settings(RidgeCV=1.05, ElasticNet=1.0)
    summary = pd.concat([summary, summary[summary["candidate"] == "RidgeCV"].assign(hyper_parameters='{"a": 1}')])

    assert choose(summary, "")["hyper_parameters"] == {}


def test_among_candidates_with_the_same_estimator_the_better_one_wins() -> None:
    summary = settings(RidgeCV=1.05, Champion=1.04, ElasticNet=1.0)
    summary["estimator"] = summary["estimator"].replace("Champion", "RidgeCV")

    assert choose(summary, "")["name"] == "Champion"


def test_the_choice_has_a_reason() -> None:
    assert choose(settings(ElasticNet=1.0, RidgeCV=1.05), "k€")["reason"] == (
        "RMSE 1.050 k€, simpler and within one standard error (up to 1.100 k€) of the best, ElasticNet with 1.000 k€"
    )
    assert choose(settings(RidgeCV=1.0, ElasticNet=1.05), "")["reason"] == (
        "RMSE 1.000, the best of 2; no simpler candidate is within one standard error"
    )


def test_failed_candidates_are_logged_and_left_out(rows: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "include.model.tuning"):
        summary = summarize_all([score_candidate(RIDGE, rows, HOUSES)], [RIDGE, NET])

    assert set(summary["candidate"]) == {"RidgeCV"}
    assert caplog.messages == ["Failed and left out: ElasticNet; see their logs"]


def test_if_all_candidates_failed_the_error_names_them() -> None:
    with pytest.raises(CandidateError, match="all candidates failed: RidgeCV, ElasticNet"):
        summarize_all([], [RIDGE, NET])
