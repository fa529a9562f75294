"""The promotion gate: whether a challenger may become champion, and why.

*Not worse* is a test of non-inferiority. A challenger is **worse** if its true error (RMSE over all rows like these,
of which the holdout is a sample) exceeds the champion's by the share ``margin`` or more. It passes if the upper limit
of a one-sided confidence interval of the ratio of the two errors is below ``1 + margin``. So, nominally, a worse
challenger passes with a probability of at most ``1 - confidence``, and one that is better or equal passes only if the
holdout is large enough to show it: without evidence, the champion stays. Source: Wellek (2010), Testing Statistical
Hypotheses of Equivalence and Noninferiority, 2nd edition, chapters 1 and 2.

The interval is ``log(ratio) + t * s``: ``s`` is the standard error from a paired bootstrap, which draws rows with
both models' errors, and ``t`` is Student's quantile for rows - 1 degrees of freedom (Efron and Tibshirani 1993, An
Introduction to the Bootstrap, chapters 6 and 12). Measured with 23 rows and errors that are normal or heavy-tailed
(Student's t, 5 degrees of freedom): at a confidence of 0.975, percentile and BCa limits of the difference of the
errors let a model that is worse by the margin pass in 4 to 13 % of cases, this one in 2 to 5 %. The ratio helps most,
because the scale of the errors cancels out. How often good models pass is in docs/promotion.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import chi2
from scipy.stats import t as student

from include.evaluation.scores import MIN_ROWS, format_value, resample, rmse
from include.spec import Gate


@dataclass(frozen=True)
class Check:
    """One requirement, and how the challenger meets it."""

    name: str
    passed: bool
    result: str


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may become champion, the reason in one sentence, and every check."""

    passed: bool
    reason: str
    checks: list[Check]


def judge(
    true: pd.Series, challenger: pd.Series, champion: pd.Series | None, groups: pd.DataFrame, gate: Gate, unit: str
) -> Verdict:
    """Judge a challenger on the holdout; all arguments have one row per holdout row, in the same order.

    :param true: the target
    :param challenger: its predictions
    :param champion: the champion's predictions of the same rows; without a champion only the absolute limit counts
    :param groups: categories, those of ``gate.subgroup_max_rmse`` among them
    :param unit: the target's
    :return: passed if no check failed
    """
    checks = [_check_error("absolute limit", true, challenger, gate.max_rmse, unit)]
    if champion is not None:
        checks.append(_check_not_worse(true, challenger, champion, gate, unit))
        checks += _check_subgroups(true, challenger, groups, gate, unit)
    failed = [check for check in checks if not check.passed]
    if failed:
        return Verdict(False, "; ".join(f"{check.name}: {check.result}" for check in failed), checks)
    reason = "no champion to compare with" if champion is None else "every subgroup is within its limit"
    return Verdict(True, "; ".join([*(check.result for check in checks[:2]), reason]), checks)


def limit_ratio(true: pd.Series, challenger: pd.Series, champion: pd.Series, confidence: float) -> tuple[float, float]:
    """Return the challenger's RMSE as a multiple of the champion's, and the multiple's upper confidence limit.

    Two models with the same predictions have the ratio 1 and the limit 1.
    """
    errors = (np.asarray(true - challenger, float), np.asarray(true - champion, float))
    if np.array_equal(np.abs(errors[0]), np.abs(errors[1])):
        return 1.0, 1.0
    if not all(error.any() for error in errors):  # one of them is perfect: the ratio is 0 or infinite
        return (np.inf, np.inf) if errors[0].any() else (0.0, 0.0)
    ratio = float(_log_ratio(*errors))
    distance = student.ppf(confidence, len(true) - 1) * resample(_log_ratio, errors, method="percentile").standard_error
    return float(np.exp(ratio)), float(np.exp(ratio + distance))


def _log_ratio(challenger: np.ndarray, champion: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the logarithm of the ratio of two RMSEs, from errors."""
    return np.log(rmse(challenger, 0, axis)) - np.log(rmse(champion, 0, axis))


def _check_error(name: str, true: pd.Series, challenger: pd.Series, limit: float, unit: str) -> Check:
    error, rows = float(rmse(true, challenger)), f"{len(true)} {'row' if len(true) == 1 else 'rows'}"
    comparison = "within" if error <= limit else "above"
    result = f"RMSE {format_value(error, unit)} on {rows} is {comparison} the limit of {format_value(limit, unit)}"
    return Check(name, error <= limit, result)


def _check_not_worse(true: pd.Series, challenger: pd.Series, champion: pd.Series, gate: Gate, unit: str) -> Check:
    ratio, limit = limit_ratio(true, challenger, champion, gate.confidence)
    allowed = 1 + gate.margin
    result = (
        f"RMSE is {ratio:.2f} x the champion's {format_value(float(rmse(true, champion)), unit)} on the same "
        f"{len(true)} rows and, at {100 * gate.confidence:g}% confidence, at most {limit:.2f} x, "
        f"{'below' if limit < allowed else 'not below'} {allowed:.2f} x"
    )
    return Check("not worse than the champion", limit < allowed, result)


def _check_subgroups(
    true: pd.Series, challenger: pd.Series, groups: pd.DataFrame, gate: Gate, unit: str
) -> Iterator[Check]:
    """Hold each group to its limit, and a group of few rows to what can happen by chance at the limit.

    The squared errors of n rows with a true RMSE at the limit add up to limit squared times a chi-squared variable
    with n degrees of freedom, if errors are normal.
    """
    for column, limit in gate.subgroup_max_rmse.items():
        for group, index in groups.groupby(column).groups.items():
            few = len(index) < MIN_ROWS
            chance = float(np.sqrt(chi2.ppf(gate.confidence, len(index)) / len(index))) if few else 1.0
            check = _check_error(f"{column} {group}", true[index], challenger[index], limit * chance, unit)
            note = f" ({format_value(limit, unit)}, widened for few rows)" if few else ""
            yield replace(check, result=check.result + note)
