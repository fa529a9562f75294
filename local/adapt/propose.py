"""A first description of a table: the problem that ``include/problem.py`` will hold."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, log, log10, sqrt
from pathlib import PurePath
from unicodedata import normalize

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold, cross_val_predict

from include.data.checks import Inspection, inspect
from include.data.split import select_holdout, select_rows, select_training
from include.evaluation.intervals import limit_rmse
from include.evaluation.scores import MIN_ROWS, rmse
from include.model.training import build_model
from include.spec import Category, Gate, Limits, Number, Problem
from local.adapt.infer import MAX_LEVELS, AdaptError, Choice, choose_uses, clean_cells, to_numbers

HOLDOUT_SHARES = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
MAX_ROWS = 5000  # in the cross-validation; more rows change the error little and take long
SEED = 0
GROUPS, GROUP_SHARE, MAX_SUBGROUPS = range(2, 9), 0.05, 3
SUBGROUP_MARGIN = 1.25  # a group may be so much harder to predict than all rows
WEAK = 0.95  # of the mean's RMSE: such a model is hardly better than predicting the mean


@dataclass(frozen=True)
class Proposal:
    """A problem, and what it follows from.

    :param choices: what each column of the table is used as
    :param table: the rows as the pipeline reads them, without repeated ones
    :param ridge: RMSE of ridge regression in cross-validation on the training rows, in the target's unit
    :param mean: the same of predicting the mean
    """

    problem: Problem
    choices: Sequence[Choice]
    table: pd.DataFrame
    ridge: float
    mean: float

    @property
    def is_weak(self) -> bool:
        """Whether the features say hardly more about the target than its mean does."""
        return self.ridge > WEAK * self.mean

    @property
    def enough_holdout_rows(self) -> float:
        """With about so many holdout rows, 4 of 5 first versions as good as ridge regression pass the gate.

        With 8 instead of 14, normal errors would show with a power of 80 % that the model is better than the mean: the
        logarithm of the ratio has the variance (1 - ratio^2) / n. 14 is fitted, because the absolute limit counts too.
        Measured once, on 60 noisy tables of houses each: 75 to 82 % with R2 0.6 (40 to 50 rows) and 0.8 (15 rows).
        """
        ratio = max(self.ridge / self.mean, 1e-9)
        return 14 * (1 - ratio**2) / log(ratio) ** 2 if ratio < 1 else inf


def propose(rows: pd.DataFrame, source: str, table: str, target: str, row_id: str | None = None) -> Proposal:
    """Describe a table.

    :param rows: as :func:`include.data.reading.parse_rows` returns them
    :param source: the file that they were read from; names follow from it
    :param table: where the pipeline reads it, for ``Problem.table``
    :raises AdaptError: the table cannot be used, or not with this target and ID
    :raises include.data.reading.TableError: the pipeline's own checks find errors
    """
    cells = clean_cells(rows)
    choices = choose_uses(cells, target, row_id)
    draft = describe_problem(cells, choices, source, table)
    problem, split = choose_holdout(inspect(rows, draft), source, draft)
    training = select_training(split, problem)
    sample = training.sample(min(len(training), MAX_ROWS), random_state=SEED)
    errors = _cross_validate(build_model(problem, "RidgeCV", {}), sample, problem)
    ridge, mean = (float(rmse(found, 0)) for found in (errors, _cross_validate(DummyRegressor(), sample, problem)))
    if mean == 0:
        raise AdaptError(f"{target} is the same in all training rows: choose another target, or add rows")
    limit = mean if ridge > WEAK * mean else (ridge + mean) / 2
    gate = Gate(
        max_rmse=choose_limit(limit, errors, mean, len(select_holdout(split, problem))),
        subgroup_max_rmse=limit_subgroups(limit, errors, training, problem),
    )
    return Proposal(replace(problem, gate=gate), choices, split, ridge, mean)


def describe_problem(cells: pd.DataFrame, choices: Sequence[Choice], source: str, table: str) -> Problem:
    """Return a problem with every column described; the holdout and the gate are still open."""
    slug = make_slug(PurePath(source).stem)
    columns = {choice.use: choice.column for choice in choices}
    target = columns["target"]
    features = tuple(
        (describe_number if choice.use == "number" else describe_category)(choice.column, cells[choice.column])
        for choice in choices
        if choice.use in ("number", "category")
    )
    count = f"{len(features)} columns" if len(features) > 1 else "1 column"
    missing, limits = cells[target].isna().mean(), Limits()
    if missing > limits.max_missing_target:
        limits = Limits(max_missing_target=ceil(missing * 20) / 20)
    return Problem(
        name=slug,
        title=f"{target}: true and predicted",
        summary=f"Predicts {target} from {count} of {PurePath(source).name}.",
        table=table,
        row_id=columns.get("ID"),
        target=describe_number(target, cells[target]),
        features=features,
        gate=Gate(max_rmse=1),
        limits=limits,
        experiment=slug.capitalize(),
        registered_model=f"Reg_{slug}",
        artifact_bucket=f"mlflowdata{slug.replace('_', '')}"[:63],
        picture=f"{slug}.png",
        predictions_file=f"{slug}_predictions.csv",
    )


def describe_number(name: str, cells: pd.Series) -> Number:
    """Return a number with ranges around what was observed: a tenth of the span beyond it, and ten times as far."""
    numbers = to_numbers(cells).dropna()
    low, high = float(numbers.min()), float(numbers.max())
    exponent = floor(log10(high - low)) - 1
    if (numbers % 1 == 0).all():
        exponent = max(exponent, 0)
    tenth = (high - low) / 10
    expected = (round_to(low - tenth, exponent, up=False), round_to(high + tenth, exponent, up=True))
    reach = round_up(10 * max(abs(low), abs(high)), 2)
    if low < 0:
        return Number(name, possible=(-reach, reach), expected=expected)
    return Number(name, possible=(0.0, reach), expected=(max(0.0, expected[0]), expected[1]))


def describe_category(name: str, cells: pd.Series) -> Category:
    """Return a category with its levels, unless there are too many."""
    levels = tuple(sorted(cells.dropna().unique()))
    known = levels if len(levels) <= MAX_LEVELS else ()
    return Category(name, levels=known, new_levels="warning", nullable=bool(cells.isna().any()))


def choose_holdout(inspection: Inspection, source: str, problem: Problem) -> tuple[Problem, pd.DataFrame]:
    """Return the problem with the smallest share of holdout rows that the gate can judge by, and the split table."""
    for share in HOLDOUT_SHARES:
        candidate = replace(problem, holdout_share=share)
        table = select_rows(inspection, source, candidate)
        if len(select_holdout(table, candidate)) >= MIN_ROWS:
            return candidate, table
    raise AdaptError(f"Fewer than {MIN_ROWS} rows with a target can be set aside as holdout: add rows")


def choose_limit(limit: float, errors: pd.Series, mean: float, holdout_rows: int) -> float:
    """Return the limit that the gate holds against the upper confidence limit of the RMSE: higher for few rows.

    The confidence limit of a model as good as ridge regression lies above its RMSE by a factor, and chance rarely adds
    as much again. The mean's RMSE is the largest limit.

    :param limit: for many rows
    :param errors: of ridge regression in cross-validation, in the target's unit
    :param mean: RMSE of predicting the mean
    :param holdout_rows: number of rows that the gate judges by
    """
    ridge = float(rmse(errors, 0))
    typical = np.quantile(errors, (np.arange(holdout_rows) + 0.5) / holdout_rows)
    factor = limit_rmse(typical, 2 * Gate.confidence - 1)[1] / ridge if ridge else 1.0
    return round_up(min(mean, max(limit, ridge * factor**2)))


def limit_subgroups(limit: float, errors: pd.Series, training: pd.DataFrame, problem: Problem) -> dict[str, float]:
    """Return a limit for the groups of a few categories, none of whose groups is small.

    :param limit: for many rows of all groups
    :param errors: of a sample of the training rows
    """
    limits: dict[str, float] = {}
    for name in problem.categories:
        shares = training[name].value_counts(normalize=True, dropna=False)
        if len(shares) in GROUPS and shares.min() >= GROUP_SHARE and len(limits) < MAX_SUBGROUPS:
            worst = sqrt((errors**2).groupby(training[name], dropna=False).mean().max())
            limits[name] = round_up(SUBGROUP_MARGIN * max(limit, worst))
    return limits


def round_up(value: float, digits: int = 3) -> float:
    """Round a positive number up to a few significant digits."""
    return round_to(value, floor(log10(value)) - digits + 1, up=True)


def round_to(value: float, exponent: int, *, up: bool) -> float:
    """Round up or down to a multiple of a power of ten."""
    step = 10.0**exponent
    steps = ceil(value / step - 1e-9) if up else floor(value / step + 1e-9)  # 0.3 / 0.1 is a little less than 3
    return float(f"{steps * step:.15g}")


def make_slug(name: str) -> str:
    """Return a name of at most 40 lower-case letters, digits and ``_`` that begins with a letter."""
    plain = normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return (slug if slug[:1].isalpha() else f"table_{slug}")[:40].strip("_")


def _cross_validate(estimator: BaseEstimator, sample: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return the errors of 5-fold cross-validated predictions, in the target's unit."""
    true = sample[problem.target.name]
    folds = KFold(5, shuffle=True, random_state=SEED)
    return true - cross_val_predict(estimator, sample[problem.inputs], true, cv=folds)
