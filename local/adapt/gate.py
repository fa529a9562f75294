"""Limits for the promotion gate, from a quick cross-validation on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, log10, sqrt

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold, cross_val_predict

from include.evaluation.scores import rmse
from include.model.training import build_model
from include.spec import Gate, Problem
from local.adapt.infer import AdaptError

MAX_ROWS = 5000  # more rows change the error little and take long
SEED = 0
GROUPS, GROUP_SHARE, MAX_SUBGROUPS = range(2, 9), 0.05, 3
SUBGROUP_MARGIN = 1.25  # a group may be so much harder to predict than all rows
HARDLY = 0.95  # of the mean's RMSE: such a model is hardly better than predicting the mean


@dataclass(frozen=True)
class Evidence:
    """What the limits follow from.

    :param rows: number of training rows in the 5-fold cross-validation
    :param ridge: RMSE of ridge regression, in the target's unit
    :param mean: RMSE of predicting the mean
    :param reason: how ``max_rmse`` follows from the two
    """

    rows: int
    ridge: float
    mean: float
    reason: str = ""

    @property
    def is_weak(self) -> bool:
        """Whether the features say hardly more about the target than its mean does."""
        return self.ridge > HARDLY * self.mean


def propose_gate(training: pd.DataFrame, holdout_rows: int, problem: Problem) -> tuple[Gate, Evidence]:
    """Return limits that a model passes if it is as good as ridge regression, and the RMSEs behind them.

    :param training: training rows with a target, as :func:`include.data.table.select_training` returns them
    :param holdout_rows: number of rows that the gate will judge by
    :raises AdaptError: the target does not vary in the training rows
    """
    sample = training.sample(min(len(training), MAX_ROWS), random_state=SEED)
    errors = _predict(build_model(problem, "RidgeCV", {}), sample, problem)
    evidence = Evidence(
        len(sample), float(rmse(errors, 0)), float(rmse(_predict(DummyRegressor(), sample, problem), 0))
    )
    if evidence.mean == 0:
        raise AdaptError(f"{problem.target.name} is the same in all training rows: choose another target, or add rows")
    limit, reason = _limit(errors, holdout_rows, evidence)
    limit = round_up(limit)
    subgroups = {
        name: round_up(SUBGROUP_MARGIN * max(limit, _worst(errors, sample[name])))
        for name in list(_subgroups(training, problem))[:MAX_SUBGROUPS]
    }
    return Gate(max_rmse=limit, subgroup_max_rmse=subgroups), replace(evidence, reason=reason)


def round_up(value: float, digits: int = 3) -> float:
    """Round a positive number up to a few significant digits."""
    return round_to(value, floor(log10(value)) - digits + 1, up=True)


def round_to(value: float, exponent: int, *, up: bool) -> float:
    """Round up or down to a multiple of a power of ten."""
    step = 10.0**exponent
    steps = ceil(value / step - 1e-9) if up else floor(value / step + 1e-9)  # 0.3 / 0.1 is a little less than 3
    return float(f"{steps * step:.15g}")


def _predict(estimator: BaseEstimator, sample: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return the errors of cross-validated predictions, in the target's unit."""
    true = sample[problem.target.name]
    folds = KFold(5, shuffle=True, random_state=SEED)
    return true - cross_val_predict(estimator, sample[problem.inputs], true, cv=folds)


def _limit(errors: pd.Series, holdout_rows: int, evidence: Evidence) -> tuple[float, str]:
    """Return the largest RMSE that passes, and the reason for it."""
    if evidence.is_weak:
        return evidence.mean, "the RMSE of predicting the mean, because the model is hardly better"
    squares = errors**2
    chance = sqrt(squares.mean() + 2 * squares.std() / sqrt(holdout_rows))
    limits = {
        (evidence.ridge + evidence.mean) / 2: "halfway between the two",
        chance: f"two standard errors above ridge regression, because the holdout has only {holdout_rows} rows",
    }
    if max(limits) < evidence.mean:
        return max(limits), limits[max(limits)]
    return evidence.mean, f"the RMSE of predicting the mean, because the holdout has only {holdout_rows} rows"


def _subgroups(training: pd.DataFrame, problem: Problem) -> Iterator[str]:
    """Yield the categories of a few groups, none of them small."""
    for name in problem.categories:
        shares = training[name].value_counts(normalize=True, dropna=False)
        if len(shares) in GROUPS and shares.min() >= GROUP_SHARE:
            yield name


def _worst(errors: pd.Series, groups: pd.Series) -> float:
    return sqrt((errors**2).groupby(groups, dropna=False).mean().max())
