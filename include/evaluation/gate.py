"""The promotion gate: whether a challenger may become champion, and why.

*Not worse* is a test of non-inferiority. A challenger is **worse** if its true error (RMSE over all animals like
these, of which the holdout is a sample) is larger than the champion's by the share ``margin`` or more. It passes
if the upper limit of a one-sided confidence interval of the ratio of the two errors lies below ``1 + margin``; so
a worse one passes with a probability of at most ``1 - confidence``, and one that is better or equal passes only if
the holdout is large enough to show it: with no evidence, the champion stays. Source: Wellek (2010), Testing
Statistical Hypotheses of Equivalence and Noninferiority, 2nd edition, chapters 1 and 2.

The interval is ``log(ratio) + t * s``: ``s`` is the standard error from a paired bootstrap, which draws animals and
takes both models' errors of each, and ``t`` is Student's quantile for animals - 1 (Efron and Tibshirani 1993, An
Introduction to the Bootstrap, chapters 6 and 12). Measured with 23 animals and errors that are normal or heavy-tailed
(Student's t, 5 degrees of freedom): percentile and BCa limits of the difference in cm let a model worse by the margin
pass in 4 to 13 % of cases at a confidence of 0.975, this one in 2 to 5 %. The ratio is what helps most, because the
scale of the errors cancels out. How often it opens for good models is in docs/promotion.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, chi2
from scipy.stats import t as student

from include.evaluation.holdout import LEAST_ANIMALS, SEED
from include.evaluation.scores import rmse

RESAMPLES = 2000


@dataclass(frozen=True)
class Rules:
    """What a challenger must keep to.

    :param margin: share of the champion's RMSE by which the challenger's may be larger
    :param confidence: that a worse challenger does not pass
    :param max_rmse: cm; the absolute floor of quality
    :param subgroup_max_rmse: the same for each group of a column, by column: ``{"sex": 2.2}``
    """

    margin: float
    confidence: float
    max_rmse: float
    subgroup_max_rmse: Mapping[str, float]


@dataclass(frozen=True)
class Check:
    """One rule, and how the challenger does by it."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may become champion, the reason in one sentence, and every check."""

    passed: bool
    reason: str
    checks: list[Check]


def judge(
    true: pd.Series, challenger: pd.Series, champion: pd.Series | None, groups: pd.DataFrame, rules: Rules
) -> Verdict:
    """Judge a challenger by the holdout animals; all arguments have one row an animal, in the same order.

    :param true: tail length (cm)
    :param challenger: its predictions (cm)
    :param champion: predictions of the champion for the same animals, or None if there is none: then only the
        absolute floor counts
    :param groups: the columns that divide the animals into subgroups
    :return: passed if no check failed
    """
    checks = [_check_floor(true, challenger, rules.max_rmse)]
    if champion is not None:
        checks.append(_check_not_worse(true, challenger, champion, rules))
        checks += _check_subgroups(true, challenger, groups, rules)
    failed = [check for check in checks if not check.passed]
    if failed:
        return Verdict(False, "; ".join(f"{check.name}: {check.found}" for check in failed), checks)
    reason = "no champion to compare with" if champion is None else "no subgroup is below its floor"
    return Verdict(True, "; ".join([*(check.found for check in checks[:2]), reason]), checks)


def limit_ratio(true: pd.Series, challenger: pd.Series, champion: pd.Series, confidence: float) -> tuple[float, float]:
    """Return the challenger's RMSE as a multiple of the champion's, and the upper confidence limit of that.

    Two models that predict the same have the ratio 1 and the limit 1.
    """
    errors = (np.asarray(true - challenger, float), np.asarray(true - champion, float))
    if np.array_equal(np.abs(errors[0]), np.abs(errors[1])):
        return 1.0, 1.0
    if not all(error.any() for error in errors):  # one of them is perfect, and a ratio says no more
        return (np.inf, np.inf) if errors[0].any() else (0.0, 0.0)
    ratio = float(_log_ratio(*errors))
    drawn = bootstrap(
        errors,
        _log_ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    reach = student.ppf(confidence, len(true) - 1) * drawn.standard_error
    return float(np.exp(ratio)), float(np.exp(ratio + reach))


def _log_ratio(challenger: np.ndarray, champion: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the logarithm of the ratio of two RMSEs, from errors (cm)."""
    return np.log(rmse(challenger, 0, axis)) - np.log(rmse(champion, 0, axis))


def _check_floor(true: pd.Series, challenger: pd.Series, max_rmse: float) -> Check:
    error = float(rmse(true, challenger))
    verb = "within" if error <= max_rmse else "beyond"
    return Check("absolute floor", error <= max_rmse, f"RMSE {error:.2f} cm is {verb} {max_rmse:.2f} cm")


def _check_not_worse(true: pd.Series, challenger: pd.Series, champion: pd.Series, rules: Rules) -> Check:
    ratio, limit = limit_ratio(true, challenger, champion, rules.confidence)
    allowed = 1 + rules.margin
    found = (
        f"RMSE is {ratio:.2f} x the champion's {rmse(true, champion):.2f} cm on the same {len(true)} animals and, at "
        f"{rules.confidence:.1%} confidence, at most {limit:.2f} x, {'below' if limit < allowed else 'not below'} "
        f"{allowed:.2f} x"
    )
    return Check("not worse than the champion", limit < allowed, found)


def _check_subgroups(true: pd.Series, challenger: pd.Series, groups: pd.DataFrame, rules: Rules) -> list[Check]:
    return [
        _check_subgroup(f"{column} {group}", true[rows.index], challenger[rows.index], floor, rules.confidence)
        for column, floor in rules.subgroup_max_rmse.items()
        if column in groups
        for group, rows in groups.groupby(column)
    ]


def _check_subgroup(name: str, true: pd.Series, challenger: pd.Series, floor: float, confidence: float) -> Check:
    """Hold a group to its floor, and one of few animals to what chance may bring at the floor.

    The squared errors of n animals whose true RMSE is the floor sum up to floor squared times a chi-squared variable
    with n degrees of freedom, if errors are normal.
    """
    error, count = float(rmse(true, challenger)), len(true)
    chance = np.sqrt(chi2.ppf(confidence, count) / count) if count < LEAST_ANIMALS else 1.0
    limit = floor * float(chance)
    verb = "within" if error <= limit else "beyond"
    found = f"RMSE {error:.2f} cm of {count} animals is {verb} {limit:.2f} cm"
    return Check(name, error <= limit, found if limit == floor else f"{found}, the floor {floor:.2f} cm for so few")
