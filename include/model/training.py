"""The model: built from a candidate, fitted with prediction intervals, and scored on the holdout."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline

from include.data.features import build_transformer, compute_features
from include.data.split import select_holdout, select_training
from include.evaluation.scores import score_predictions
from include.model.candidates import MANY_ROWS, find_candidate
from include.model.interval_regressor import IntervalRegressor, fill
from include.spec import SPLIT, Problem

FOLDS, FEWER_FOLDS = 10, 5  # up to MANY_ROWS training rows, and beyond, where four fifths of them say as much
MAX_RESIDUALS = 100_000  # 0.8 MB in the model's file; they give the coverage a standard error of 0.1 %
MAX_ERRORS = 2000  # logged for comparisons with later errors
MAX_CHECKED = 100_000  # rows whose features are computed again and compared


def build_model(problem: Problem, estimator: str, hyper_parameters: Mapping[str, Any]) -> Pipeline:
    """Return the unfitted model, from ``problem.inputs`` to the target.

    :param estimator: the name of one of ``CANDIDATES``
    :param hyper_parameters: arguments of the estimator, in addition to the candidate's fixed ones
    :raises UnknownCandidateError: the estimator or an argument does not exist
    """
    return make_pipeline(build_transformer(problem), find_candidate(estimator).build(hyper_parameters))


def train_model(
    table: pd.DataFrame, problem: Problem, estimator: str, hyper_parameters: Mapping[str, Any]
) -> tuple[IntervalRegressor, dict[str, float]]:
    """Fit the model on the training rows and score it on the holdout rows; rows without a target are left out.

    :param table: feature table, with the engineered columns
    :return: the fitted model, and its scores ``holdout_...``: RMSE, MAE, R2, and coverage and width of the intervals
    :raises ValueError: the model computes other features than the table has
    """
    training, holdout = select_training(table, problem), select_holdout(table, problem)
    model = build_model(problem, estimator, hyper_parameters)
    fitted = fit_with_intervals(model, training[problem.inputs], training[problem.target.name])
    fitted.levels = {name: fill(training[name]).unique().tolist() for name in problem.categories}
    _check_features(fitted.model[0], table.head(MAX_CHECKED), problem)
    true, predicted = holdout[problem.target.name], fitted.predict(None, holdout[problem.inputs])
    scores = score_predictions(true, predicted["prediction"]) | score_intervals(true, predicted)
    return fitted, {f"holdout_{name}": value for name, value in scores.items()}


def fit_with_intervals(model: BaseEstimator, rows: pd.DataFrame, target: pd.Series) -> IntervalRegressor:
    """Fit a model on all rows, and once more without each of ten folds, or of five where rows are many.

    The fold models give errors on unseen rows, and show how predictions vary with the training rows; see
    ``IntervalRegressor`` for the intervals. Hyper-parameters chosen on the same rows make them slightly too narrow.

    :param model: unfitted; is cloned
    """
    fold_models, residuals, rng = [], [], np.random.default_rng(0)
    folds = FOLDS if len(rows) <= MANY_ROWS else FEWER_FOLDS
    for seen, unseen in KFold(folds, shuffle=True, random_state=0).split(rows):
        fitted = clone(model).fit(rows.iloc[seen], target.iloc[seen])
        errors = np.abs(target.iloc[unseen].to_numpy() - fitted.predict(rows.iloc[unseen]))
        residuals.append(rng.permutation(errors)[: MAX_RESIDUALS // folds])
        fold_models.append(fitted)
    return IntervalRegressor(clone(model).fit(rows, target), fold_models, residuals)


def sample_errors(model: IntervalRegressor) -> pd.DataFrame:
    """Return how far off the model is on rows that it has not seen: absolute errors of its fold models.

    :return: column ``error``, in the target's unit, of up to 2,000 training rows
    """
    errors = pd.DataFrame({"error": np.concatenate(model.residuals)})
    return errors.sample(min(len(errors), MAX_ERRORS), random_state=0)


def score_intervals(true: pd.Series, predicted: pd.DataFrame) -> dict[str, float]:
    """Return the share of true values inside their intervals, and the intervals' mean width in the target's unit.

    :param predicted: columns ``lower`` and ``upper``
    """
    return {
        "coverage": float(true.between(predicted["lower"], predicted["upper"]).mean()),
        "interval_width": float((predicted["upper"] - predicted["lower"]).mean()),
    }


def describe_model(model: Pipeline, selected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a fitted model.

    ``estimator`` and ``hyper_parameters`` (JSON) are enough to fit such a model again: the selected ones, with the
    alpha that ``RidgeCV`` chose.

    :param selected: ``estimator`` and ``hyper_parameters``
    """
    estimator = model[-1].regressor_
    chosen = {"alphas": [float(estimator.alpha_)]} if isinstance(estimator, RidgeCV) else {}
    return {
        **estimator.get_params(),
        "estimator": selected["estimator"],
        "hyper_parameters": json.dumps({**selected["hyper_parameters"], **chosen}),
    }


def _check_features(transformer: Pipeline, table: pd.DataFrame, problem: Problem) -> None:
    computed = compute_features(table, transformer, problem)
    saved = table.drop(columns=[*problem.columns, SPLIT])
    if list(saved) != list(computed) or not np.allclose(saved, computed):
        raise ValueError(
            "the features in the table are not those that the model computes: include/data/features.py has changed "
            "since feature_eng ran, so run feature_eng again"
        )
