"""The model of a possum's tail: raw rows in, a length with an interval out, and its scores on the holdout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline

from include.config import RAW, TARGET
from include.data.features import PREFIX, build_transformer, compute_features
from include.data.table import select_holdout, select_training
from include.evaluation.scores import score_predictions
from include.model.candidates import check_hyper_parameters, find_candidate
from include.model.interval_regressor import PossumModel
from include.model.intervals import FOLDS, fit_with_intervals, score_intervals


def build_model(hyper_parameters: Mapping[str, Any], estimator: str = "RidgeCV") -> Pipeline:
    """Return the unfitted model: raw rows in, tail length in cm out.

    :param hyper_parameters: arguments of the estimator, besides those that ``CANDIDATES`` gives it
    :param estimator: the name of one of ``CANDIDATES``
    :raises UnknownCandidateError: if there is no such estimator, or it has no such argument
    """
    candidate = find_candidate(estimator)
    check_hyper_parameters(candidate, hyper_parameters)
    return make_pipeline(build_transformer(), candidate.build(hyper_parameters))


def train_model(
    table: pd.DataFrame, hyper_parameters: Mapping[str, Any], estimator: str = "RidgeCV"
) -> tuple[PossumModel, dict[str, float]]:
    """Fit the model on the training animals and score it on the holdout animals it has not seen.

    Animals without a tail length take no part.

    :param table: feature table: raw columns, ``feature_...`` columns, ``taill`` and ``split``
    :return: the fitted model, and its scores ``holdout_...``: RMSE, MAE, R2, and coverage and width of the intervals
    :raises ValueError: if the model computes other features than the table holds, or there are too few animals
    """
    training = select_training(table)
    holdout = select_holdout(table)
    if len(training) < FOLDS or len(holdout) < 2:
        raise ValueError(
            f"too few animals with a tail length: {len(training)} to train on and {len(holdout)} held out, "
            f"but {FOLDS} and 2 are the least: add rows to the possum table"
        )
    model = fit_with_intervals(build_model(hyper_parameters, estimator), training[RAW], training[TARGET])
    _check_features(model.model, table)
    predicted = model.predict(None, holdout[RAW])
    scores = score_predictions(holdout[TARGET], predicted["prediction"]) | score_intervals(holdout[TARGET], predicted)
    return model, {f"holdout_{name}": value for name, value in scores.items()}


def describe_model(model: Pipeline, selected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a fitted model, and what it takes to fit such a model again.

    The latter are ``estimator`` and ``hyper_parameters`` (JSON): those that were selected, except that ``RidgeCV``
    chooses one of its alphas itself.

    :param selected: ``estimator`` and ``hyper_parameters``
    """
    estimator = model[-1]
    chosen = {"alphas": [float(estimator.alpha_)]} if isinstance(estimator, RidgeCV) else {}
    return {
        **estimator.get_params(),
        "estimator": selected["estimator"],
        "hyper_parameters": json.dumps({**selected["hyper_parameters"], **chosen}),
    }


def _check_features(model: Pipeline, table: pd.DataFrame) -> None:
    saved = table.filter(regex=f"^{PREFIX}")
    computed = compute_features(table, model[0])
    if list(saved) != list(computed) or not np.allclose(saved, computed):
        raise ValueError(
            "the features in the table are not those that the model computes: include/data/features.py has changed "
            "since feature_eng ran, so run feature_eng again"
        )
