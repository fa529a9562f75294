"""The model of a possum's tail: ridge regression on raw rows, its scores and its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import RepeatedKFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline

from include.config import RAW, SPLIT, TARGET
from include.features import PREFIX, build_transformer, compute_features
from include.possums import select_training

ALPHAS = np.logspace(-3, 1, 30)
FOLDS = 5


def build_model(hyper_parameters: Mapping[str, Any]) -> Pipeline:
    """Return the unfitted model: raw rows in, tail length in cm out.

    :param hyper_parameters: arguments of scikit-learn's ``RidgeCV``; ``alphas`` is ``ALPHAS`` unless given
    :raises ValueError: if ``RidgeCV`` has no such argument
    """
    unknown = set(hyper_parameters) - set(RidgeCV().get_params())
    if unknown:
        allowed = ", ".join(RidgeCV().get_params())
        raise ValueError(f"hyper_parameters: RidgeCV has no {', '.join(sorted(unknown))}; it has {allowed}")
    return make_pipeline(build_transformer(), RidgeCV(**{"alphas": ALPHAS, **hyper_parameters}))


def train_model(table: pd.DataFrame, hyper_parameters: Mapping[str, Any]) -> tuple[Pipeline, dict[str, float]]:
    """Fit the model on the training animals and score it on the holdout animals it has not seen.

    Animals without a tail length take no part.

    :param table: feature table: raw columns, ``feature_...`` columns, ``taill`` and ``split``
    :return: the fitted model, and its scores: ``cv_...`` on the training animals, ``holdout_...``
    :raises ValueError: if the model computes other features than the table holds, or there are too few animals
    """
    training = select_training(table)
    holdout = table[(table[SPLIT] == "holdout") & table[TARGET].notna()]
    if len(training) < FOLDS or len(holdout) < 2:
        raise ValueError(
            f"too few animals with a tail length: {len(training)} to train on and {len(holdout)} held out, "
            f"but {FOLDS} and 2 are the least: add rows to the possum table"
        )
    model = build_model(hyper_parameters)
    scores = cross_validate_model(model, training[RAW], training[TARGET])
    model.fit(training[RAW], training[TARGET])
    _check_features(model, table)
    held_out = score_predictions(holdout[TARGET], model.predict(holdout[RAW]))
    return model, scores | {f"holdout_{name}": value for name, value in held_out.items()}


def _check_features(model: Pipeline, table: pd.DataFrame) -> None:
    saved = table.filter(regex=f"^{PREFIX}")
    computed = compute_features(table, model[0])
    if list(saved) != list(computed) or not np.allclose(saved, computed):
        raise ValueError(
            "the features in the table are not those that the model computes: include/features.py has changed "
            "since feature_eng ran, so run feature_eng again"
        )


def cross_validate_model(model: Pipeline, rows: pd.DataFrame, target: pd.Series) -> dict[str, float]:
    """Score a model by 5-fold cross-validation, repeated 10 times, each fold fitted from scratch.

    :return: mean and standard deviation over the 50 folds of RMSE and MAE (cm) and R2
    """
    scorers = {
        "rmse": "neg_root_mean_squared_error",
        "mae": "neg_mean_absolute_error",
        "r2": "r2",
    }
    folds = RepeatedKFold(n_splits=FOLDS, n_repeats=10, random_state=0)
    scores = cross_validate(clone(model), rows, target, cv=folds, scoring=scorers)
    values = {name: abs(scores[f"test_{name}"]) if name != "r2" else scores["test_r2"] for name in scorers}
    return {
        f"cv_{name}_{statistic}": float(getattr(np, statistic)(folds))
        for name, folds in values.items()
        for statistic in ("mean", "std")
    }


def score_predictions(true: pd.Series, predicted: pd.Series | np.ndarray) -> dict[str, float]:
    """Return RMSE and MAE in cm, and R2."""
    return {
        "rmse": float(root_mean_squared_error(true, predicted)),
        "mae": float(mean_absolute_error(true, predicted)),
        "r2": float(r2_score(true, predicted)),
    }
