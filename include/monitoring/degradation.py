"""Performance degradation: whether a model still predicts as well as when it was trained."""

from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

LARGE = 5000  # rows beyond which a bootstrap needs no correction for bias, whose time grows with their square
BATCH = 20_000_000  # numbers drawn at a time by a bootstrap, 160 MB
POWER = 0.8
SMALLEST = 1e-150  # squared error that counts as none, so that there always is a ratio


def measure_degradation(
    baseline: pd.Series, recent: pd.Series, *, confidence: float, margin: float
) -> dict[str, float]:
    """Compare a model's errors on recent rows with those on rows that it was not chosen by.

    The interval is a bootstrap of both: BCa, and of more than 5,000 rows the percentile method, because BCa's
    jackknife takes the square of them while its correction vanishes (Efron and Tibshirani, 1993, An Introduction to
    the Bootstrap, chapter 14).

    :param baseline: errors on training rows, each by a model that was fitted without the row. Not on the holdout: a
        champion was chosen by it, and the best of many has small errors there by luck
    :param recent: errors on recent rows
    :param confidence: of the lower end of the interval
    :param margin: by which share the recent error may be larger
    :return: ``rmse_baseline`` and ``rmse_recent`` (the target's unit), their ``ratio`` with its interval ``ratio_low``
        to ``ratio_high``; ``ratio_found``, the true ratio that is found with a probability of 80 %; and ``degraded``:
        1 if even the lower end is above 1 + `margin`, else 0
    """
    rows = max(len(baseline), len(recent))
    squares = tuple(np.maximum(np.square(errors), SMALLEST) for errors in (recent, baseline))
    interval = bootstrap(
        squares,
        lambda new, old, axis=-1: np.log(new.mean(axis=axis) / old.mean(axis=axis)) / 2,
        confidence_level=2 * confidence - 1,
        method="BCa" if rows <= LARGE else "percentile",
        batch=max(1, BATCH // rows),
        rng=np.random.default_rng(0),
    ).confidence_interval
    rmse_recent, rmse_baseline = (float(np.sqrt(square.mean())) for square in squares)
    low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
    return {
        "rmse_baseline": rmse_baseline,
        "rmse_recent": rmse_recent,
        "ratio": rmse_recent / rmse_baseline,
        "ratio_low": low,
        "ratio_high": high,
        "ratio_found": (1 + margin) * float(np.exp(_reach(squares, confidence))),
        "degraded": float(low > 1 + margin),
    }


def _reach(squares: tuple[pd.Series, ...], confidence: float) -> float:
    """Return how far the logarithm of the ratio must lie above the margin to be found, if it is normal.

    Its variance is a quarter of the sum of those of the mean squares, each relative to its square (delta method).
    """
    variance = sum(square.var() / square.mean() ** 2 / len(square) for square in squares) / 4
    return float(np.sqrt(variance)) * sum(map(NormalDist().inv_cdf, (confidence, POWER)))
