"""The schemas of a problem's table, as pandera checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from include.spec import Category, Number, Problem, Range

MAX_COLUMNS = 100  # of a table that a message names
MAX_SHOWN = 100  # failures of a check that are named; all are counted
MAX_CELL = 100  # characters of a cell in a message


class Failures(NamedTuple):
    """The failures of a check: a line for each of the first ``MAX_SHOWN``, and the number of all."""

    lines: tuple[str, ...] = ()
    total: int = 0


def validate(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], Failures]]:
    """Return rows in the columns and types of a schema, and the failures of each of its checks.

    :return: the rows, as they came if a check failed; failures by column and check
    """
    failures = dict.fromkeys(_list_checks(schema), Failures())
    try:
        return schema.validate(rows, lazy=True)[list(schema.columns)], failures
    except SchemaErrors as errors:
        cases = errors.failure_cases
        return rows, failures | dict(_describe_table(cases, rows, schema)) | dict(_describe_cells(cases, rows))


def build_schema(problem: Problem, *, labelled: bool) -> pa.DataFrameSchema:
    """Without this a table is not trained from; rows that are added may lack any number."""
    share = problem.limits.max_missing
    numbers = [] if labelled else [_missing_at_most(share)]
    identity = {problem.row_id: pa.Column(str, unique=True)} if problem.row_id else {}
    columns = {
        column.name: pa.Column(float, numbers, nullable=True) if isinstance(column, Number) else _category(column)
        for column in problem.features
    }
    target = pa.Column(float, nullable=True)
    return pa.DataFrameSchema({**identity, **columns, problem.target.name: target}, coerce=True)


def _category(column: Category) -> pa.Column:
    checks = [_known_level(column)] if column.levels and column.new_levels == "error" else []
    return pa.Column(str, checks, nullable=column.nullable)


def build_expectations(problem: Problem) -> pa.DataFrameSchema:
    """Without this a table is trained from, with a warning."""
    usual = _missing_at_most(problem.limits.usual_missing)
    return pa.DataFrameSchema(
        {
            **{
                column.name: pa.Column(str, [_known_level(column)], nullable=True)
                for column in problem.features
                if isinstance(column, Category) and column.levels and column.new_levels == "warning"
            },
            **{
                name: pa.Column(float, [expected_check(problem.number(name)), usual], nullable=True)
                for name in (*problem.numbers, problem.target.name)
            },
        }
    )


def _missing_at_most(share: float) -> pa.Check:
    return pa.Check(
        lambda cells: cells.isna().mean() <= share, ignore_na=False, error=f"more than {share:.0%} of it is missing"
    )


def _known_level(column: Category) -> pa.Check:
    return pa.Check.isin(column.levels, error=f"is not one of {', '.join(column.levels)}")


def possible_check(column: Number) -> pa.Check:
    """Return a check that numbers are in the possible range."""
    described = describe_range(column.possible, column.unit)
    return pa.Check(lambda cells: is_possible(to_numbers(cells), column), error=f"is impossible ({described})")


def expected_check(column: Number) -> pa.Check:
    """Return a check that numbers are in the expected range."""
    described = describe_range(column.expected, column.unit)
    return pa.Check.in_range(*column.expected, error=f"is outside of the expected {described}")


def to_numbers(cells: pd.Series) -> pd.Series:
    """Return the cells as floats, as a schema converts them; NaN for one that is not a number."""
    return pd.Series([_to_number(cell) for cell in cells], cells.index, float)


def _to_number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):  # pd.NA is a TypeError
        return np.nan


def is_possible(numbers: pd.Series, column: Number) -> pd.Series:
    """Return whether each number is finite and in the possible range, or missing."""
    return numbers.isna() | (numbers.between(*column.possible) & np.isfinite(numbers))


def describe_range(bounds: Range, unit: str) -> str:
    """Return a range as text: ``1 to 80 cm``."""
    return f"{bounds[0]:g} to {bounds[1]:g} {unit}".rstrip()


def _list_checks(schema: pa.DataFrameSchema) -> Iterator[tuple[str, str]]:
    """Yield column and check for everything that a schema demands."""
    for name, column in schema.columns.items():
        yield name, "is missing from the table"
        if column.dtype.type == "float64":
            yield name, "is not a number"
        if not column.nullable:
            yield name, "is missing"
        if column.unique:
            yield name, "occurs more than once"
        yield from ((name, check.error) for check in column.checks)


Described = Iterator[tuple[tuple[str, str], Failures]]


def _describe_table(cases: pd.DataFrame, rows: pd.DataFrame, schema: pa.DataFrameSchema) -> Described:
    """Yield the failures of columns as a whole."""
    others = ", ".join(sorted(set(rows).difference(schema.columns))[:MAX_COLUMNS]) or "none"
    for name in cases.loc[cases["check"] == "column_in_dataframe", "failure_case"]:
        line = f"column {name} is missing; other columns of the table: {others}"
        yield (name, "is missing from the table"), Failures((line,), 1)
    # A check that could not run on text has no row either; the text itself has one.
    whole = cases[cases["index"].isna() & (cases["failure_case"].astype(str) == "False")]
    for column, check in zip(whole["column"], whole["check"], strict=True):
        yield (column, check), Failures((f"column {column}: {check}",), 1)


def _describe_cells(cases: pd.DataFrame, rows: pd.DataFrame) -> Described:
    """Yield the failures of cells, each cell once for a reason: several checks find the same one."""
    found: dict[tuple[str, str], list[pd.Series]] = {}
    for (column, check), group in cases[cases["index"].notna()].groupby(["column", "check"], sort=False):
        cells = rows[column].loc[group["index"].astype(int)]
        for reason, some in (("is missing", cells[cells.isna()]), (_reason(check), cells[cells.notna()])):
            if len(some):
                found.setdefault((column, reason), []).append(some)
    for (column, reason), parts in found.items():
        cells = pd.concat(parts)
        cells = cells[~cells.index.duplicated()]
        lines = [
            f"{name_row(index)}, column {column}: {reason if pd.isna(value) else f'{shorten(value)} {reason}'}"
            for index, value in cells.head(MAX_SHOWN).items()
        ]
        yield (column, reason), Failures(tuple(lines), len(cells))


def shorten(value: object) -> str:
    """Return a cell as text for a message, which must not grow with it."""
    text = str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}..."


def _reason(check: str) -> str:
    if check.startswith(("coerce_dtype", "dtype")):
        return "is not a number"
    return "occurs more than once" if check == "field_uniqueness" else check


def name_row(index: object) -> str:
    """Return the row of a file that has this index: the first one below the header is row 2."""
    return f"row {int(str(index)) + 2}"
