"""Drift: whether recent rows still resemble those a model was trained on, and whether it still predicts as well.

Each input is compared by a test, which measures how surprising its difference is, and by the population stability
index (PSI), which measures how large it is. An input has drifted only if both are out of bounds: among many rows a
test finds the smallest difference, and among few a PSI is large by chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import MonteCarloMethod, bootstrap, chi2_contingency, false_discovery_control, ks_2samp

from include.evaluation.scores import LARGE
from include.spec import Problem

BINS = 5  # each with an equal share of the training rows
LEVELS = 50  # of a category that are compared one by one; all others are one
SMOOTHING = 0.5  # rows added to every bin: an empty one leaves the PSI finite
TABLES = 9999  # simulated for the p-value of a chi-squared test
BATCH = 20_000_000  # numbers drawn at a time by a bootstrap, 160 MB


def measure_drift(
    training: pd.DataFrame, recent: pd.DataFrame, problem: Problem, *, alpha: float, min_psi: float
) -> pd.DataFrame:
    """Compare every input of recent rows with the training rows.

    Numbers go through the Kolmogorov-Smirnov test, a missing one below all others; categories through the
    chi-squared test, its p-value simulated because some have fewer than five rows. A missing category is one more;
    beyond the 50 most frequent of training, categories count as one. Benjamini and Hochberg's procedure (1995)
    adjusts the p-values.

    :param alpha: share of the tables without any drift that may raise a false alarm
    :param min_psi: smallest PSI that matters, on top of what chance brings
    :return: one row for each input, named by the index: ``statistic``, ``p_value`` (adjusted), ``psi``,
        ``psi_by_chance`` and ``drifted``
    """
    before, after = _comparable(training, problem), _comparable(recent, problem)
    compared = {
        name: _test(before[name], after[name]) + measure_psi(before[name], after[name]) for name in problem.inputs
    }
    columns = ["statistic", "p_value", "psi", "psi_by_chance"]
    table = pd.DataFrame.from_dict(compared, orient="index", columns=columns)
    table["p_value"] = false_discovery_control(table["p_value"])
    large = table["psi"] - table["psi_by_chance"] >= min_psi
    return table.assign(drifted=large & (table["p_value"] <= alpha))


def measure_psi(before: pd.Series, after: pd.Series) -> tuple[float, float]:
    """Return the population stability index of a column, and its expected value without drift.

    Without drift the PSI is about (1/n + 1/m) times a chi-squared variable with one degree of freedom less than
    there are bins; n and m are the rows before and after (Yurdakul and Naranjo, 2020, Journal of Risk Model
    Validation 14(4)). On 81 and 100 rows and five bins that is 0.09 on average, so the usual limits of 0.1 and
    0.25 (Siddiqi, 2006, Credit Risk Scorecards) can only be put on what lies above it.

    :param before: numbers without NaN, or categories
    :param after: the same kind
    """
    counts = _count(before, after)
    smoothed = counts + SMOOTHING
    old, new = smoothed / smoothed.sum(axis=1, keepdims=True)
    psi = float(((new - old) * np.log(new / old)).sum())
    return psi, (counts.shape[1] - 1) * (1 / len(before) + 1 / len(after))


def measure_degradation(holdout: pd.Series, recent: pd.Series, *, confidence: float, margin: float) -> dict[str, float]:
    """Compare a model's errors on recent rows with those on its holdout.

    The interval is a bootstrap of both: BCa, and of more than 5,000 rows the percentile method, because BCa's
    jackknife takes the square of them while its correction vanishes (Efron and Tibshirani, 1993, An Introduction to
    the Bootstrap, chapter 14).

    :param holdout: predicted minus true target of the holdout rows
    :param recent: the same of recent rows
    :param confidence: of the lower end of the interval
    :param margin: by which share the recent error may be larger
    :return: ``rmse_holdout`` and ``rmse_recent`` (the target's unit), their ``ratio`` with its interval ``ratio_low``
        to ``ratio_high``, and ``degraded``: 1 if even the lower end is above 1 + `margin`, else 0
    """
    rows = max(len(holdout), len(recent))
    interval = bootstrap(
        (np.square(recent), np.square(holdout)),
        lambda new, old, axis=-1: np.log(new.mean(axis=axis) / old.mean(axis=axis)) / 2,
        confidence_level=2 * confidence - 1,
        method="BCa" if rows <= LARGE else "percentile",
        batch=max(1, BATCH // rows),
        rng=np.random.default_rng(0),
    ).confidence_interval
    rmse_holdout, rmse_recent = (float(np.sqrt(np.square(errors).mean())) for errors in (holdout, recent))
    low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
    return {
        "rmse_holdout": rmse_holdout,
        "rmse_recent": rmse_recent,
        "ratio": rmse_recent / rmse_holdout,
        "ratio_low": low,
        "ratio_high": high,
        "degraded": float(low > 1 + margin),
    }


def _comparable(rows: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return numbers as floats, missing ones below all others, and categories as objects."""
    numbers = rows[problem.numbers].astype(float).fillna(-np.inf)
    return pd.concat([numbers, rows[problem.categories].astype(object)], axis="columns")


def _test(before: pd.Series, after: pd.Series) -> tuple[float, float]:
    """Return a test's statistic and p-value."""
    if pd.api.types.is_numeric_dtype(before):
        compared = ks_2samp(before, after)
    else:
        simulated = MonteCarloMethod(n_resamples=TABLES, rng=np.random.default_rng(0))
        compared = chi2_contingency(_count(before, after), correction=False, method=simulated)
    return float(compared.statistic), float(compared.pvalue)


def _count(before: pd.Series, after: pd.Series) -> np.ndarray:
    """Return the rows in each bin, before and after (2 x bins); no bin is empty on both sides."""
    number = _bin_numbers if pd.api.types.is_numeric_dtype(before) else _bin_categories
    codes = number(before, pd.concat([before, after]))
    _, bins = np.unique(codes, return_inverse=True)
    return np.stack([np.bincount(side, minlength=bins.max() + 1) for side in np.split(bins, [len(before)])])


def _bin_numbers(before: pd.Series, both: pd.Series) -> np.ndarray:
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1], method="higher"))
    return np.searchsorted(edges, both, side="left")


def _bin_categories(before: pd.Series, both: pd.Series) -> np.ndarray:
    """Number the categories; those beyond the most frequent of `before` are all -1."""
    frequent = before.value_counts(dropna=False).index.union(both.unique(), sort=False)[:LEVELS]
    return frequent.sort_values().get_indexer(both)
