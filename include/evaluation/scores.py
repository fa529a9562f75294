"""How wrong predictions are; along an axis, so that a bootstrap can score thousands of samples at once."""

from __future__ import annotations

from typing import Any

import numpy as np


def rmse(true: Any, predicted: Any, axis: int = -1) -> Any:
    """Return the root mean squared error, in the unit of the target."""
    return np.sqrt(_mean_squared(true, predicted, axis))


def mae(true: Any, predicted: Any, axis: int = -1) -> Any:
    """Return the mean absolute error, in the unit of the target."""
    return np.mean(np.abs(_errors(true, predicted)), axis=axis)


def r2(true: Any, predicted: Any, axis: int = -1) -> Any:
    """Return the coefficient of determination: 1 is perfect, 0 as good as the mean of the true values."""
    return 1 - _mean_squared(true, predicted, axis) / np.var(np.asarray(true, float), axis=axis)


def score_predictions(true: Any, predicted: Any) -> dict[str, float]:
    """Return RMSE and MAE, in the unit of the target, and R2.

    :raises ValueError: a prediction is no finite number
    """
    if not np.isfinite(np.asarray(predicted, float)).all():
        raise ValueError("the predictions contain NaN or infinity")
    return {metric.__name__: float(metric(true, predicted)) for metric in (rmse, mae, r2)}


def _mean_squared(true: Any, predicted: Any, axis: int) -> Any:
    return np.mean(np.square(_errors(true, predicted)), axis=axis)


def _errors(true: Any, predicted: Any) -> np.ndarray:
    return np.asarray(true, float) - np.asarray(predicted, float)  # by position, whatever their indexes
