"""How good a model is on the holdout animals, beside the champion where there is one.

Every interval is a bootstrap over animals, 95 % unless it says otherwise: Efron and Tibshirani (1993), An
Introduction to the Bootstrap, chapters 13 and 14, as ``scipy.stats.bootstrap`` computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap

from include.config import CASE, RAW, TARGET
from include.data import table as possums
from include.evaluation.scores import mae, r2, rmse

SUBGROUPS = ["site", "sex", "Pop"]
CONFIDENCE = 0.95
RESAMPLES = 2000
SHUFFLES = 10  # of each column, for its permutation importance
LEAST_ANIMALS = 7  # of 7, an RMSE has a relative standard error of 1 / sqrt(14), 27 %; of fewer, more
SEED = 20240607

Metric = Callable[..., Any]


METRICS: dict[str, Metric] = {"rmse": rmse, "mae": mae, "r2": r2}


@dataclass(frozen=True)
class Score:
    """A value and the limits of its interval, which are NaN where there are too few animals for one."""

    value: float
    low: float
    high: float


def select_holdout(table: pd.DataFrame) -> pd.DataFrame:
    """Return the animals that a model is judged by: held out, and with a tail length.

    :raises ValueError: there are fewer than ``LEAST_ANIMALS``
    """
    holdout = possums.select_holdout(table).reset_index(drop=True)
    if len(holdout) < LEAST_ANIMALS:
        raise ValueError(f"{len(holdout)} holdout animals with a tail length, {LEAST_ANIMALS} are the least: add rows")
    return holdout


def add_shuffled(holdout: pd.DataFrame) -> pd.DataFrame:
    """Return the raw rows of the holdout, and below them the same rows with one column shuffled, for each column.

    One call of the model then gives its predictions and its permutation importance: it lives in a process of
    its own, out of reach of ``sklearn.inspection.permutation_importance``, whose definition this follows.
    """
    rng = np.random.default_rng(SEED)
    rows = holdout[RAW]
    shuffled = [
        rows.assign(**{column: rows[column].to_numpy()[rng.permutation(len(rows))]})
        for column in RAW
        for _ in range(SHUFFLES)
    ]
    return pd.concat([rows, *shuffled], ignore_index=True)


def read_predictions(answer: pd.DataFrame, holdout: pd.DataFrame) -> pd.DataFrame:
    """Return a model's predictions of the holdout animals themselves.

    :param answer: to the rows of :func:`add_shuffled`; ``prediction``, and ``lower`` and ``upper`` if the model has
        intervals (cm)
    :raises ValueError: an animal has no finite prediction
    """
    own = answer.iloc[: len(holdout)].reset_index(drop=True)
    bad = holdout.loc[~np.isfinite(own["prediction"].astype(float)), CASE].tolist()
    if bad:
        raise ValueError(f"the model predicts no number for animals {bad}: it cannot be judged, nor be champion")
    return own


def score(true: pd.Series, predicted: pd.DataFrame) -> dict[str, Score]:
    """Return RMSE and MAE (cm) and R2 with their intervals, and of a model with intervals their coverage.

    :param predicted: as :func:`read_predictions` returns it
    """
    pair = (true.to_numpy(float), predicted["prediction"].to_numpy(float))
    scores = {name: _with_interval(metric, pair) for name, metric in METRICS.items()}
    if {"lower", "upper"} <= set(predicted):
        scores["coverage"] = _coverage(true, predicted)
    return scores


def score_subgroups(holdout: pd.DataFrame, predicted: pd.Series) -> pd.DataFrame:
    """Score every site, sex and population by itself.

    :return: ``column``, ``group``, ``animals``, ``rmse``, ``rmse_low``, ``rmse_high``, ``mae`` (cm); limits are
        NaN for fewer than ``LEAST_ANIMALS``
    """
    return pd.DataFrame(_subgroup_rows(holdout, predicted))


def importances(holdout: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return by how much the RMSE (cm) grows when a column is shuffled.

    :param predicted: of the rows of :func:`add_shuffled`
    :return: ``column``, ``mean`` and ``std`` over the shuffles, the most important first
    """
    blocks = predicted["prediction"].to_numpy(float).reshape(1 + len(RAW) * SHUFFLES, len(holdout))
    errors = rmse(holdout[TARGET].to_numpy(float), blocks)
    growth = (errors[1:] - errors[0]).reshape(len(RAW), SHUFFLES)
    table = pd.DataFrame({"column": RAW, "mean": growth.mean(axis=1), "std": growth.std(axis=1)})
    return table.sort_values("mean", ascending=False, ignore_index=True)


def flatten(scores: Mapping[str, Mapping[str, float]], prefix: str) -> dict[str, float]:
    """Return scores as metrics ``<prefix>rmse``, ``<prefix>rmse_low`` and ``<prefix>rmse_high``; NaN left out."""
    named = {
        f"{prefix}{name}{'' if part == 'value' else f'_{part}'}": value
        for name, score in scores.items()
        for part, value in score.items()
    }
    return {name: value for name, value in named.items() if np.isfinite(value)}


def _coverage(true: pd.Series, predicted: pd.DataFrame) -> Score:
    """Return the share of animals inside their prediction interval.

    Its own interval is exact: Clopper and Pearson (1934), Biometrika 26: 404-413.
    """
    inside = int(true.between(predicted["lower"], predicted["upper"]).sum())
    exact = binomtest(inside, len(true)).proportion_ci(CONFIDENCE)
    return Score(inside / len(true), float(exact.low), float(exact.high))


def _subgroup_rows(holdout: pd.DataFrame, predicted: pd.Series) -> Iterator[dict[str, Any]]:
    for column in SUBGROUPS:
        for group, rows in holdout.groupby(column):
            pair = (rows[TARGET].to_numpy(float), predicted[rows.index].to_numpy(float))
            error = _with_interval(rmse, pair)
            limits = {"rmse": error.value, "rmse_low": error.low, "rmse_high": error.high}
            yield {"column": column, "group": str(group), "animals": len(rows), **limits, "mae": float(mae(*pair))}


def _with_interval(metric: Metric, pair: tuple[np.ndarray, np.ndarray]) -> Score:
    value = float(metric(*pair))
    if len(pair[0]) < LEAST_ANIMALS:
        return Score(value, np.nan, np.nan)
    found = bootstrap(
        pair,
        metric,
        paired=True,
        vectorized=True,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Score(value, float(found.low), float(found.high))
