"""Drift: whether recent rows still resemble those that a model was trained on.

Each input is compared by a test, which measures how surprising its difference is, and by the population stability
index (PSI), which measures how large it is. An input has drifted only if both are out of bounds: among many rows a
test finds the smallest difference, and among few a PSI is large by chance.

Rows from few groups, such as one site, differ from the training rows in every number that depends on the group. That is
another mix, not drift: the other inputs are then compared within the groups.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import MonteCarloMethod, chi2_contingency, false_discovery_control, ks_2samp

from include.monitoring.groups import TABLES, match_groups, permute_within
from include.spec import Problem

BINS = 5  # each with an equal share of the training rows
LEVELS = 50  # of a category that are compared one by one; all others are one
SMOOTHING = 0.5  # rows added to every bin: an empty one leaves the PSI finite
SAMPLE = 1000  # rows of each table that are compared within groups, if there are more

Compared = tuple[float, float, float, float]  # statistic, p-value, PSI, PSI by chance


def measure_drift(
    training: pd.DataFrame, recent: pd.DataFrame, problem: Problem, *, alpha: float, min_psi: float
) -> pd.DataFrame:
    """Compare every input of recent rows with the training rows.

    Numbers go through the Kolmogorov-Smirnov test, a missing one below all others; categories through the
    chi-squared test, its p-value simulated because some have fewer than five rows. A missing category is one more;
    beyond the 50 most frequent, categories count as one. Benjamini and Hochberg's procedure (1995)
    adjusts the p-values.

    A category that differs has drifted if cells that are missing, or not in training, make the difference. Else it has
    another mix. In both cases the other inputs are compared again, within the groups of all categories that differ
    (:func:`include.monitoring.groups.match_groups`), and by permutations.

    :param alpha: share of the tables without any drift that may raise a false alarm
    :param min_psi: smallest PSI that matters, on top of what chance brings
    :return: one row for each input, named by the index: ``statistic``, ``p_value`` (adjusted), ``psi``,
        ``psi_by_chance``, ``grouped`` (a category that differs) and ``drifted`` (it differs, not by its mix alone).
        Inputs are left out if training has none of the groups
    """
    before, after = _comparable(training, problem), _comparable(recent, problem)
    table = _judge({name: _compare(before[name], after[name]) for name in problem.inputs}, alpha, min_psi)
    parts: list[pd.DataFrame] = []
    while differing := [name for name in table.index[table["drifted"]] if name in problem.categories]:
        unknown = [_is_unknown(before[name], after[name], min_psi) for name in differing]
        parts.append(table.loc[differing].assign(grouped=True, drifted=unknown))
        groups = [name for part in parts for name in part.index]
        table = _judge(_compare_within(before, after, groups), alpha, min_psi)
    table = pd.concat([*parts, table])
    return table.loc[[name for name in problem.inputs if name in table.index]]


def measure_psi(before: pd.Series, after: pd.Series, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Return the population stability index of a column, and its expected value without drift.

    Without drift the PSI is about (1/n + 1/m) times a chi-squared variable with one degree of freedom less than
    there are bins; n and m are the rows before and after (Yurdakul and Naranjo, 2020, Journal of Risk Model
    Validation 14(4)). On 81 and 100 rows and five bins that is 0.09 on average, so the usual limits of 0.1 and
    0.25 (Siddiqi, 2006, Credit Risk Scorecards) can only be put on what lies above it. Rows with weights count as
    (sum of weights)^2 / (sum of squared weights) (Kish, 1965, Survey Sampling, section 11.7).

    :param before: numbers without NaN, or categories
    :param after: the same kind
    :param weights: of the rows before; equal if not given
    """
    weights = np.ones(len(before)) if weights is None else weights
    rows = weights.sum() ** 2 / np.square(weights).sum()
    counts = _count(before, after, weights * rows / weights.sum())
    smoothed = counts + SMOOTHING
    old, new = smoothed / smoothed.sum(axis=1, keepdims=True)
    psi = float(((new - old) * np.log(new / old)).sum())
    return psi, (counts.shape[1] - 1) * (1 / rows + 1 / len(after))


def _comparable(rows: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return numbers as floats, missing ones below all others, and categories as objects."""
    numbers = rows[problem.numbers].astype(float).fillna(-np.inf)
    return pd.concat([numbers, rows[problem.categories].astype(object)], axis="columns")


def _judge(compared: Mapping[str, Compared], alpha: float, min_psi: float) -> pd.DataFrame:
    columns = ["statistic", "p_value", "psi", "psi_by_chance"]
    table = pd.DataFrame.from_dict(compared, orient="index", columns=columns).astype(float)
    if compared:
        table["p_value"] = false_discovery_control(table["p_value"])
    large = table["psi"] - table["psi_by_chance"] >= min_psi
    return table.assign(grouped=False, drifted=large & (table["p_value"] <= alpha))


def _compare(before: pd.Series, after: pd.Series) -> Compared:
    return _test(before, after) + measure_psi(before, after)


def _compare_within(before: pd.DataFrame, after: pd.DataFrame, groups: Sequence[str]) -> dict[str, Compared]:
    """Compare the other columns with the training rows in the mix of the recent ones; none if they share no group.

    Rows are sampled from shared groups only: a sample of all would have few of a group that is rare in training.
    """
    before, after = (rows.sample(frac=1, random_state=0) for rows in (before, after))
    after = after[match_groups(before, after, groups)[1]].head(SAMPLE)
    before = before[match_groups(before, after, groups)[0] > 0].head(SAMPLE)
    weights, known = match_groups(before, after, groups)
    if not known.any():
        return {}
    after = after[known]
    others = before.columns.difference(groups, sort=False)
    tests = permute_within(before, after, groups, others)
    return {name: tests[name] + measure_psi(before[name], after[name], weights) for name in others}


def _is_unknown(before: pd.Series, after: pd.Series, min_psi: float) -> bool:
    """Return whether many more recent cells are missing, or not in training, than a row's of training would be.

    A category that one row alone has would not be in training without it (Good, 1953, Biometrika 40: 237-264).
    """
    old, new = before.isna() | ~before.duplicated(keep=False), after.isna() | ~after.isin(before)
    psi, by_chance = measure_psi(old.astype(object), new.astype(object))
    return bool(new.mean() > old.mean() and psi - by_chance >= min_psi)


def _test(before: pd.Series, after: pd.Series) -> tuple[float, float]:
    """Return a test's statistic and p-value."""
    if pd.api.types.is_numeric_dtype(before):
        compared = ks_2samp(before, after)
    else:
        simulated = MonteCarloMethod(n_resamples=TABLES, rng=np.random.default_rng(0))
        compared = chi2_contingency(_count(before, after), correction=False, method=simulated)
    return float(compared.statistic), float(compared.pvalue)


def _count(before: pd.Series, after: pd.Series, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the rows in each bin, before and after (2 x bins); no bin is empty on both sides."""
    number = _bin_numbers if pd.api.types.is_numeric_dtype(before) else _bin_categories
    _, bins = np.unique(number(before, pd.concat([before, after]), weights), return_inverse=True)
    old, new = np.split(bins, [len(before)])
    return np.stack([np.bincount(old, weights, bins.max() + 1), np.bincount(new, minlength=bins.max() + 1)])


def _bin_numbers(before: pd.Series, both: pd.Series, weights: np.ndarray | None) -> np.ndarray:
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(before, shares, weights=weights, method="inverted_cdf"))
    return np.searchsorted(edges, both, side="left")


def _bin_categories(_: pd.Series, both: pd.Series, __: np.ndarray | None) -> np.ndarray:
    """Number the categories; those beyond the most frequent are all -1.

    Frequent in both tables together: the simulated p-value holds for these sums, and a level that is rare in training
    alone is compared.
    """
    return both.value_counts(dropna=False).index[:LEVELS].sort_values().get_indexer(both)
