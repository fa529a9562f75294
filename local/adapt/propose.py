"""A first description of a table: the problem that ``include/problem.py`` will hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from pathlib import PurePath
from unicodedata import normalize

import pandas as pd

from include.data.checks import Inspection, inspect
from include.data.table import select_holdout, select_rows, select_training
from include.evaluation.scores import MIN_ROWS
from include.spec import Category, Gate, Limits, Number, Problem
from local.adapt.gate import Evidence, propose_gate, round_to, round_up
from local.adapt.infer import MAX_LEVELS, AdaptError, Choice, choose_uses, clean_cells

HOLDOUT_SHARES = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


@dataclass(frozen=True)
class Proposal:
    """A problem, and what it follows from.

    :param choices: what each column of the table is used as
    :param target: the target's cells that are not missing
    :param rows: number of rows, without repeated ones
    """

    problem: Problem
    choices: Sequence[Choice]
    evidence: Evidence
    target: pd.Series
    rows: int


def propose(rows: pd.DataFrame, source: str, table: str, target: str, row_id: str | None = None) -> Proposal:
    """Describe a table.

    :param rows: as :func:`include.data.table.parse_rows` returns them
    :param source: the file that they were read from; names follow from it
    :param table: where the pipeline reads it, for ``Problem.table``
    :raises AdaptError: the table cannot be used, or not with this target and ID
    :raises include.data.table.TableError: the pipeline's own checks find errors
    """
    cells = clean_cells(rows)
    choices = choose_uses(cells, target, row_id)
    draft = draft_problem(choices, source, table, float(cells[target].isna().mean()))
    draft, split = choose_holdout(inspect(rows, draft), source, draft)
    problem = replace(
        draft,
        target=describe_number(target, split[target]),
        features=tuple(_describe(name, split[name], draft) for name in draft.inputs),
    )
    split = select_rows(inspect(rows, problem), source, problem)
    holdout_rows = len(select_holdout(split, problem))
    gate, evidence = propose_gate(select_training(split, problem), holdout_rows, problem)
    return Proposal(replace(problem, gate=gate), choices, evidence, split[target].dropna(), len(split))


def draft_problem(choices: Sequence[Choice], source: str, table: str, missing_target: float) -> Problem:
    """Return a problem with names and uses of columns; ranges, levels and limits are still open.

    :param missing_target: share of the rows without a target
    """
    slug = make_slug(PurePath(source).stem)
    target, row_id = (next((c.column for c in choices if c.use == use), "") for use in ("target", "ID"))
    features = tuple(
        Number(choice.column) if choice.use == "number" else Category(choice.column, nullable=True)
        for choice in choices
        if choice.use in ("number", "category")
    )
    columns = f"{len(features)} columns" if len(features) > 1 else "1 column"
    limits = Limits()
    if missing_target > limits.max_missing_target:
        limits = Limits(max_missing_target=ceil(missing_target * 20) / 20)
    return Problem(
        name=slug,
        title=f"{target}: true and predicted",
        summary=f"Predicts {target} from {columns} of {PurePath(source).name}.",
        table=table,
        row_id=row_id or None,
        target=Number(target),
        features=features,
        gate=Gate(max_rmse=1),
        limits=limits,
        experiment=slug.capitalize(),
        registered_model=f"Reg_{slug}",
        artifact_bucket=f"mlflowdata{slug.replace('_', '')}"[:63],
        picture=f"{slug}.png",
        predictions_file=f"{slug}_predictions.csv",
    )


def choose_holdout(inspection: Inspection, source: str, problem: Problem) -> tuple[Problem, pd.DataFrame]:
    """Return the problem with the smallest share of holdout rows that the gate can judge by, and the split table."""
    for share in HOLDOUT_SHARES:
        candidate = replace(problem, holdout_share=share)
        table = select_rows(inspection, source, candidate)
        if len(select_holdout(table, candidate)) >= MIN_ROWS:
            return candidate, table
    raise AdaptError(f"Fewer than {MIN_ROWS} rows with a target can be set aside as holdout: add rows")


def describe_number(name: str, values: pd.Series) -> Number:
    """Return a number with ranges around what was observed: a tenth of the span beyond it, and ten times as far."""
    low, high = float(values.min()), float(values.max())
    span = high - low
    exponent = floor(log10(span)) - 1
    if (values.dropna() % 1 == 0).all():
        exponent = max(exponent, 0)
    expected = (round_to(low - span / 10, exponent, up=False), round_to(high + span / 10, exponent, up=True))
    reach = round_up(10 * max(abs(low), abs(high)), 2)
    if low < 0:
        return Number(name, possible=(-reach, reach), expected=expected)
    return Number(name, possible=(0.0, reach), expected=(max(0.0, expected[0]), expected[1]))


def describe_category(name: str, values: pd.Series) -> Category:
    """Return a category with its levels, unless there are too many."""
    levels = sorted(values.dropna().unique())
    known = tuple(map(str, levels)) if len(levels) <= MAX_LEVELS else ()
    return Category(name, levels=known, new_levels="warning", nullable=bool(values.isna().any()))


def make_slug(name: str) -> str:
    """Return a name of at most 40 lower-case letters, digits and ``_`` that begins with a letter."""
    plain = normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return (slug if slug[:1].isalpha() else f"table_{slug}")[:40].strip("_")


def _describe(name: str, values: pd.Series, problem: Problem) -> Number | Category:
    return describe_category(name, values) if name in problem.categories else describe_number(name, values)
