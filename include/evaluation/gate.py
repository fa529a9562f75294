"""The promotion gate: whether a challenger may become champion, and why.

*Not worse* is a test of non-inferiority. A challenger is **worse** if its true error (RMSE over all rows like these,
of which the holdout is a sample) exceeds the champion's by the share ``margin`` or more. It passes if the upper
confidence limit of the ratio of the two errors is below ``1 + margin``; one that is better or equal passes only if the
holdout is large enough to show it: without evidence, the champion stays. Source: Wellek (2010), Testing Statistical
Hypotheses of Equivalence and Noninferiority, 2nd edition, chapters 1 and 2. The limits are explained in
:mod:`include.evaluation.intervals`.

The probability ``1 - confidence`` of promoting a worse challenger is shared out among all evaluations on the same
holdout rows: :func:`include.evaluation.looks.spend`. The comparison with the best earlier champion on these rows keeps
many small losses from adding up. Error rates, measured by simulation, are in docs/promotion.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from include.evaluation.intervals import limit_ratio, limit_rmse
from include.evaluation.looks import are_same, fingerprint, spend
from include.evaluation.scores import format_value, rmse
from include.spec import Gate, Number

ROUNDING = 1e-6  # share by which equal numbers may differ


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


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What a challenger is judged by; series and groups have one row per holdout row, in the same order.

    :param target: the column that is predicted
    :param true: its values
    :param predictions: of the ``challenger`` and, where there is one, of the ``champion`` and of the ``best`` earlier
        champion on these rows
    :param mean: of the target over the challenger's training rows
    :param groups: categories, those of ``gate.subgroup_max_rmse`` among them
    :param look: how many versions were judged by these rows, this one included
    :param recorded: the champion's RMSE when it was first measured on these rows
    :param held: fingerprints of versions that were rolled back
    :param version: the challenger's number
    :param newest_champion: the largest number of a version that has been champion; 0 if there was none
    """

    target: Number
    true: pd.Series
    predictions: Mapping[str, pd.Series]
    mean: float
    groups: pd.DataFrame
    look: int = 1
    recorded: float | None = None
    held: frozenset[str] = frozenset()
    version: int = 1
    newest_champion: int = 0

    @property
    def challenger(self) -> pd.Series:
        """The predictions that are judged."""
        return self.predictions["challenger"]

    @property
    def has_champion(self) -> bool:
        """Whether there is a champion to compare with."""
        return "champion" in self.predictions

    @property
    def rows(self) -> str:
        """The number of rows, for a sentence."""
        return _count(len(self.true))

    def errors(self, role: str) -> pd.Series:
        """Return true minus predicted values, in the target's unit."""
        return self.true - self.predictions[role]

    def show(self, value: float) -> str:
        """Return a value with the target's unit."""
        return format_value(value, self.target.unit)


def judge(contest: Contest, gate: Gate) -> Verdict:
    """Judge a challenger on the holdout; it passes if no check failed."""
    checks = list(_run_checks(contest, gate))
    failed = [check for check in checks if not check.passed]
    if failed:
        return Verdict(False, "; ".join(f"{check.name}: {check.result}" for check in failed), checks)
    results = {check.name: check.result for check in checks}
    compared = ("not worse than the champion", "every subgroup is within its limit")
    alone = ("better than the mean", "no champion to compare with")
    name, end = compared if contest.has_champion else alone
    return Verdict(True, "; ".join([results["absolute limit"], results[name], end]), checks)


def _run_checks(contest: Contest, gate: Gate) -> Iterator[Check]:
    yield _check_age(contest)
    yield _check_possible(contest)
    yield _check_error(contest, gate)
    yield _check_better_than_mean(contest, gate)
    yield _check_hold(contest)
    if not contest.has_champion:
        return
    recorded = _check_recorded(contest, gate)
    yield recorded
    if recorded.passed:
        yield _check_different(contest)
        yield _check_not_worse(contest, gate, "champion", "the champion")
        if "best" in contest.predictions:
            yield _check_not_worse(contest, gate, "best", "the best earlier champion")
        yield from _check_subgroups(contest, gate)


def _check_age(contest: Contest) -> Check:
    older = contest.version < contest.newest_champion
    result = (
        f"version {contest.version} is older than version {contest.newest_champion}, which has been champion: only "
        "rollback goes back"
        if older
        else "no newer version has been champion"
    )
    return Check("newer than every champion", not older, result)


def _check_possible(contest: Contest) -> Check:
    low, high = contest.target.possible
    extremes = float(contest.challenger.min()), float(contest.challenger.max())
    wrong = [contest.show(value) for value in extremes if not low <= value <= high]
    result = (
        f"predicts {' and '.join(wrong)}, {contest.target.name} lies between {low:g} and {high:g}"
        if wrong
        else f"{contest.show(extremes[0])} to {contest.show(extremes[1])}"
    )
    return Check("possible predictions", not wrong, result)


def _check_error(contest: Contest, gate: Gate) -> Check:
    errors = contest.errors("challenger").to_numpy(float)
    error, upper = float(rmse(errors, 0)), limit_rmse(errors, 2 * gate.confidence - 1)[1] if errors.any() else 0.0
    passed = upper <= gate.max_rmse
    result = (
        f"RMSE {contest.show(error)} on {contest.rows} and, at {100 * gate.confidence:g}% confidence, at most "
        f"{contest.show(upper)} is {'within' if passed else 'above'} the limit of {contest.show(gate.max_rmse)}"
    )
    return Check("absolute limit", passed, result)


def _check_better_than_mean(contest: Contest, gate: Gate) -> Check:
    """Compare with predicting the mean; once there is a champion, which passed this, further looks cost nothing."""
    name = "better than the mean"
    if np.ptp(contest.challenger) <= ROUNDING * np.ptp(contest.true):
        return Check(name, False, f"every row gets the same prediction, {contest.show(contest.challenger.iloc[0])}")
    alpha = spend(gate.confidence, 1 if contest.has_champion else contest.look)
    other = f"that of predicting the mean of the training rows, {contest.show(float(rmse(contest.true, contest.mean)))}"
    return _compare(name, contest, contest.true - contest.mean, other, alpha, 1)


def _check_hold(contest: Contest) -> Check:
    held = fingerprint(contest.challenger) in contest.held
    found = "the same as" if held else "other values than"
    end = ": delete its tag on_hold to allow it again" if held else ""
    return Check("not rolled back", not held, f"predicts {found} every version that was rolled back{end}")


def _check_recorded(contest: Contest, gate: Gate) -> Check:
    name, error = "champion as recorded", float(rmse(contest.true, contest.predictions["champion"]))
    if contest.recorded is None:
        return Check(name, True, f"RMSE {contest.show(error)}, measured on these rows for the first time")
    share = 1 + max(gate.margin, ROUNDING)
    passed = contest.recorded <= share * error and error <= share * contest.recorded
    result = f"RMSE {contest.show(error)}, was {contest.show(contest.recorded)} when first measured on these rows"
    end = (
        ": the table has changed, so the two models cannot be compared. Correct the table; if the change is right, "
        "delete the champion's alias in MLflow, and the next version is judged alone"
    )
    return Check(name, passed, result if passed else result + end)


def _check_different(contest: Contest) -> Check:
    same = are_same(contest.challenger, contest.predictions["champion"])
    result = "predicts the same as the champion: nothing was learned" if same else "other values than the champion's"
    return Check("other predictions", not same, result)


def _check_not_worse(contest: Contest, gate: Gate, role: str, who: str) -> Check:
    other = f"{who}'s {contest.show(float(rmse(contest.true, contest.predictions[role])))}"
    alpha = spend(gate.confidence, contest.look)
    return _compare(f"not worse than {who}", contest, contest.errors(role), other, alpha, 1 + gate.margin)


def _compare(name: str, contest: Contest, errors: pd.Series, other: str, alpha: float, allowed: float) -> Check:
    """Check that the ratio of the challenger's RMSE to another one is below what is allowed."""
    own = contest.errors("challenger")
    against = float(rmse(errors, 0))
    ratio = float(rmse(own, 0)) / against if against else np.inf
    limit = limit_ratio(own, errors, alpha)
    result = (
        f"RMSE is {ratio:.2f} x {other} on the same {contest.rows} and, at {100 * (1 - alpha):.6g}% confidence "
        f"(evaluation {contest.look} on these rows), at most {limit:.2f} x, "
        f"{'below' if limit < allowed else 'not below'} {allowed:.2f} x"
    )
    return Check(name, limit < allowed, result)


def _check_subgroups(contest: Contest, gate: Gate) -> Iterator[Check]:
    """Hold each group to its limit, widened by what can happen by chance at the limit.

    The squared errors of n rows with a true RMSE at the limit add up to limit squared times a chi-squared variable
    with n degrees of freedom, if errors are normal. So a group fails only if it is shown to be beyond its limit.
    """
    confidence = 1 - spend(gate.confidence, 1)
    for column, limit in gate.subgroup_max_rmse.items():
        for group, index in contest.groups.groupby(column).groups.items():
            error = float(rmse(contest.true[index], contest.challenger[index]))
            widened = limit * float(np.sqrt(chi2.ppf(confidence, len(index)) / len(index)))
            result = (
                f"RMSE {contest.show(error)} on {_count(len(index))} is {'within' if error <= widened else 'above'} "
                f"the limit of {contest.show(widened)} ({contest.show(limit)}, widened for {_count(len(index))})"
            )
            yield Check(f"{column} {group}", error <= widened, result)


def _count(rows: int) -> str:
    return f"{rows} {'row' if rows == 1 else 'rows'}"
