"""Prediction intervals by CV+: the models and residuals that they are made of, and how well they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin, clone
from sklearn.model_selection import KFold

from include.model.interval_regressor import PossumModel

FOLDS = 10


def fit_with_intervals(model: RegressorMixin, rows: pd.DataFrame, target: pd.Series) -> PossumModel:
    """Fit a model on all rows, and once more without each of ten parts of them.

    The parts give errors on rows that a model has not seen, and the spread of models that saw other rows; see
    ``PossumModel`` for what becomes of them. Settings of ``model`` are taken as they are: those that were chosen
    on the same rows make the intervals a little too narrow.

    :param model: unfitted: takes ``rows``, predicts ``target``
    """
    folds = np.empty(len(rows), dtype=int)
    residuals = np.empty(len(rows))
    fold_models = []
    for fold, (seen, unseen) in enumerate(KFold(FOLDS, shuffle=True, random_state=0).split(rows)):
        fitted = clone(model).fit(rows.iloc[seen], target.iloc[seen])
        folds[unseen] = fold
        residuals[unseen] = np.abs(target.iloc[unseen] - fitted.predict(rows.iloc[unseen]))
        fold_models.append(fitted)
    return PossumModel(clone(model).fit(rows, target), fold_models, folds, residuals)


def score_intervals(true: pd.Series, predicted: pd.DataFrame) -> dict[str, float]:
    """Return the share of true values inside their intervals, and the intervals' mean width in cm.

    :param predicted: columns ``lower`` and ``upper``
    """
    return {
        "coverage": float(true.between(predicted["lower"], predicted["upper"]).mean()),
        "interval_width": float((predicted["upper"] - predicted["lower"]).mean()),
    }
