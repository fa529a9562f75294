"""Regression metrics along the last axis, so that many samples are scored at once."""

import re
from hashlib import sha256
from typing import Any

import numpy as np

from include.data.split import MIN_HOLDOUT

SEED = 20240607
MIN_ROWS = MIN_HOLDOUT  # of a score with an interval
MAX_NAME = 200  # characters of a column in the name of a metric: MLflow accepts 250 in all


def rmse(true: Any, predicted: Any) -> Any:
    """Return the root mean squared error, in the target's unit."""
    return np.sqrt(np.mean(_errors(true, predicted) ** 2, axis=-1))


def mae(true: Any, predicted: Any) -> Any:
    """Return the mean absolute error, in the target's unit."""
    return np.mean(np.abs(_errors(true, predicted)), axis=-1)


def r2(true: Any, predicted: Any) -> Any:
    """Return the coefficient of determination: 1 is perfect, 0 as good as the mean of the true values."""
    return 1 - np.mean(_errors(true, predicted) ** 2, axis=-1) / np.var(np.asarray(true, float), axis=-1)


def score_predictions(true: Any, predicted: Any) -> dict[str, float]:
    """Return RMSE and MAE, in the target's unit, and R2.

    :raises ValueError: a prediction is NaN or infinite
    """
    if not np.isfinite(np.asarray(predicted, float)).all():
        raise ValueError("the predictions contain NaN or infinity")
    return {metric.__name__: float(metric(true, predicted)) for metric in (rmse, mae, r2)}


def format_value(value: float, unit: str = "", digits: int = 2) -> str:
    """Return a value with its unit, such as ``1.24 cm``, ``12,345 km`` or ``0.000124 g``."""
    number = f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.{digits + 1}g}"
    return f"{value:,.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{number} {unit}".rstrip()


def metric_name(text: str) -> str:
    """Return a name that MLflow accepts: the text itself, or its valid characters and a hash that keeps it unique."""
    name = re.sub(r"[^\w\-. :]+", "_", text)[:MAX_NAME]
    return name if name == text else f"{name}_{sha256(text.encode()).hexdigest()[:6]}"


def _errors(true: Any, predicted: Any) -> np.ndarray:
    return np.asarray(true, float) - np.asarray(predicted, float)  # by position, not by index
