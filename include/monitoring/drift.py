"""Drift: whether recent possums still look like those a model learned from, and whether it still predicts as well.

Each input is compared by a test, which says how surprising its difference is, and by the population stability index
(PSI), which says how large it is. Only what is both has drifted: among many rows a test finds any trifle, and among
few a PSI is large by chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import MonteCarloMethod, bootstrap, chi2_contingency, false_discovery_control, ks_2samp

from include.config import NUMERIC, RAW
from include.data.table import name_categories

BINS = 5  # each with an equal share of the training rows
SMOOTHING = 0.5  # rows added to every bin: an empty one leaves the PSI finite
TABLES = 9999  # simulated for the p-value of a chi-squared test


def measure_drift(training: pd.DataFrame, recent: pd.DataFrame, *, alpha: float, least_psi: float) -> pd.DataFrame:
    """Compare every raw column of recent rows with the training rows.

    Numbers go through the Kolmogorov-Smirnov test, a missing one below all others; categories through the
    chi-squared test, its p-value simulated because some sites have fewer than five animals. Benjamini and
    Hochberg's procedure (1995) adjusts the p-values.

    :param alpha: how many tables without any drift may raise a false alarm, as a share
    :param least_psi: the least PSI that matters, on top of what chance brings
    :return: one row a column, named by the index: ``statistic``, ``p_value`` (adjusted), ``psi``,
        ``psi_by_chance`` and ``drifted``
    """
    before, after = _comparable(training), _comparable(recent)
    compared = {name: _test(before[name], after[name]) + measure_psi(before[name], after[name]) for name in RAW}
    columns = ["statistic", "p_value", "psi", "psi_by_chance"]
    table = pd.DataFrame.from_dict(compared, orient="index", columns=columns)
    table["p_value"] = false_discovery_control(table["p_value"])
    large = table["psi"] - table["psi_by_chance"] >= least_psi
    return table.assign(drifted=large & (table["p_value"] <= alpha))


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[NUMERIC].astype(float).fillna(-np.inf).assign(**name_categories(rows))


def _test(before: pd.Series, after: pd.Series) -> tuple[float, float]:
    """Return a test's statistic and p-value."""
    if before.name in NUMERIC:
        compared = ks_2samp(before, after)
    else:
        simulated = MonteCarloMethod(n_resamples=TABLES, rng=np.random.default_rng(0))
        counts = _count(before, after, sorted({*before, *after}))
        compared = chi2_contingency(counts, correction=False, method=simulated)
    return float(compared.statistic), float(compared.pvalue)


def measure_psi(before: pd.Series, after: pd.Series) -> tuple[float, float]:
    """Return the population stability index of a column, and what it is on average if nothing has changed.

    Without drift the PSI is about (1/n + 1/m) times a chi-squared variable with one degree of freedom less than
    there are bins; n and m are the rows before and after (Yurdakul and Naranjo, 2020, Journal of Risk Model
    Validation 14(4)). On 81 and 100 rows and five bins that is 0.09 on average, so the usual limits of 0.1 and
    0.25 (Siddiqi, 2006, Credit Risk Scorecards) can only be put on what lies above it.
    """
    if before.name in NUMERIC:
        edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1], method="higher"))
        before, after = (pd.Series(np.searchsorted(edges, column, side="left")) for column in (before, after))
    bins = sorted({*before, *after})
    smoothed = _count(before, after, bins) + SMOOTHING
    old, new = smoothed / smoothed.sum(axis=1, keepdims=True)
    psi = float(((new - old) * np.log(new / old)).sum())
    return psi, (len(bins) - 1) * (1 / len(before) + 1 / len(after))


def _count(before: pd.Series, after: pd.Series, values: list) -> np.ndarray:
    return np.array([column.value_counts().reindex(values, fill_value=0) for column in (before, after)])


def measure_decay(holdout: pd.Series, recent: pd.Series, *, confidence: float, margin: float) -> dict[str, float]:
    """Compare a model's errors on recent animals with those on its holdout animals.

    :param holdout: predicted minus true tail length (cm) of the holdout animals
    :param recent: the same of recent animals
    :param confidence: of the lower end of the interval, from a bootstrap of both
    :param margin: how much larger the recent error may be, as a share
    :return: ``rmse_holdout`` and ``rmse_recent`` (cm), their ``ratio`` with its interval ``ratio_low`` to
        ``ratio_high``, and ``decayed``: 1 if even the lower end is above 1 + `margin`, else 0
    """
    interval = bootstrap(
        (np.square(recent), np.square(holdout)),
        lambda new, old, axis=-1: np.log(new.mean(axis=axis) / old.mean(axis=axis)) / 2,
        confidence_level=2 * confidence - 1,
        method="BCa",
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
        "decayed": float(low > 1 + margin),
    }
