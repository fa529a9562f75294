"""The schemas of a problem's table, as pandera checks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from include.spec import Category, Number, Problem, Range

MAX_COLUMNS = 100  # of a table that a message names
MAX_SHOWN = 100  # failures of a check that are named; all are counted
MAX_CELL = 100  # characters of a cell in a message
ABSENT, REPEATED = "is missing from the table", "occurs more than once"


@dataclass(frozen=True)
class Result:
    """What one check found: `failures` names the first ``MAX_SHOWN`` of `count`."""

    severity: str  # "repair", "error" or "warning"
    column: str
    check: str
    failures: tuple[str, ...] = ()
    count: int = 0


def name_row(index: int) -> str:
    """Return the row of a file that has this index: the first one below the header is row 2."""
    return f"row {index + 2}"


@dataclass(frozen=True)
class Failures:
    """The failures of a check: the row and what is wrong with it for the first ``MAX_SHOWN``, and the number of all.

    The row is the index of a table, or None if a column as a whole is wrong.
    """

    shown: tuple[tuple[int | None, str], ...] = ()
    count: int = 0

    def __add__(self, other: Failures) -> Failures:
        """Return the failures of both, by row."""
        shown = sorted((*self.shown, *other.shown), key=lambda failure: -1 if failure[0] is None else failure[0])
        return Failures(tuple(shown[:MAX_SHOWN]), self.count + other.count)

    def result(self, severity: str, column: str, check: str, name: Callable[[int], str] = name_row) -> Result:
        """Return the result of the check, with a line for each failure that is shown; `name` names a row."""
        lines = tuple(text if row is None else f"{name(row)}{text}" for row, text in self.shown)
        return Result(severity, column, check, lines, self.count)


Checked = dict[tuple[str, str], Failures]  # by column and check


def validate(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> tuple[pd.DataFrame, Checked]:
    """Return rows in the columns and types of a schema, and the failures of each of its checks.

    :return: the rows, as they came if a check failed; failures by column and check
    """
    failures = dict.fromkeys(list_checks(schema), Failures())
    try:
        return schema.validate(rows, lazy=True)[list(schema.columns)], failures
    except SchemaErrors as errors:
        cases = errors.failure_cases
        return rows, failures | dict(_describe_table(cases, rows, schema)) | dict(_describe_cells(cases, rows))


def build_schema(problem: Problem) -> pa.DataFrameSchema:
    """Return the schema whose violations are errors."""
    identity = {problem.row_id: pa.Column(str, unique=True)} if problem.row_id else {}
    columns = {
        column.name: pa.Column(float, nullable=True) if isinstance(column, Number) else _category(column)
        for column in problem.features
    }
    target = pa.Column(float, nullable=True)
    return pa.DataFrameSchema({**identity, **columns, problem.target.name: target}, coerce=True)


def _category(column: Category) -> pa.Column:
    checks = [_known_level(column)] if column.levels and column.new_levels == "error" else []
    return pa.Column(str, checks, nullable=column.nullable)


def build_expectations(problem: Problem) -> pa.DataFrameSchema:
    """Return the schema whose violations are warnings."""
    return pa.DataFrameSchema(
        {
            **{
                column.name: pa.Column(str, [_known_level(column)], nullable=True)
                for column in problem.features
                if isinstance(column, Category) and column.levels and column.new_levels == "warning"
            },
            **{
                name: pa.Column(float, [expected_check(problem.number(name))], nullable=True)
                for name in (*problem.numbers, problem.target.name)
            },
        }
    )


def _known_level(column: Category) -> pa.Check:
    return pa.Check.isin(column.levels, error=f"is not one of {', '.join(column.levels)}")


def possible_check(column: Number) -> pa.Check:
    """Return a check that numbers are in the possible range."""
    described = describe_range(column.possible, column.unit)
    return pa.Check(lambda cells: is_possible(to_numbers(cells)[0], column), error=f"is impossible ({described})")


def expected_check(column: Number) -> pa.Check:
    """Return a check that numbers are in the expected range."""
    described = describe_range(column.expected, column.unit)
    return pa.Check.in_range(*column.expected, error=f"is outside of the expected {described}")


def to_numbers(cells: pd.Series) -> tuple[pd.Series, bool]:
    """Return the cells as floats, as a schema converts them, and whether all are numbers.

    A cell that is none becomes NaN.
    """
    try:
        return cells.astype(float), True
    except (TypeError, ValueError):
        return pd.Series([_to_number(cell) for cell in cells], cells.index, float), False


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


def list_checks(schema: pa.DataFrameSchema) -> Iterator[tuple[str, str]]:
    """Yield column and check for everything that a schema demands."""
    for name, column in schema.columns.items():
        yield name, ABSENT
        if column.dtype.type == "float64":
            yield name, "is not a number"
        if not column.nullable:
            yield name, "is missing"
        if column.unique:
            yield name, REPEATED
        yield from ((name, check.error) for check in column.checks)


Described = Iterator[tuple[tuple[str, str], Failures]]


def _describe_table(cases: pd.DataFrame, rows: pd.DataFrame, schema: pa.DataFrameSchema) -> Described:
    """Yield the failures of columns as a whole."""
    others = ", ".join(sorted(set(rows).difference(schema.columns))[:MAX_COLUMNS]) or "none"
    for name in cases.loc[cases["check"] == "column_in_dataframe", "failure_case"]:
        line = f"column {name} is missing; other columns of the table: {others}"
        yield (name, ABSENT), Failures(((None, line),), 1)
    # A check that could not run on text has no row either; the text itself has one.
    whole = cases[cases["index"].isna() & (cases["failure_case"].astype(str) == "False")]
    for column, check in zip(whole["column"], whole["check"], strict=True):
        yield (column, check), Failures(((None, f"column {column}: {check}"),), 1)


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
        texts = (reason if pd.isna(value) else f"{shorten(value)} {reason}" for value in cells.head(MAX_SHOWN))
        shown = zip(cells.index.tolist(), (f", column {column}: {text}" for text in texts), strict=False)
        yield (column, reason), Failures(tuple(shown), len(cells))


def shorten(value: object) -> str:
    """Return a cell as text for a message, which must not grow with it."""
    text = str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}..."


def _reason(check: str) -> str:
    if check.startswith(("coerce_dtype", "dtype")):
        return "is not a number"
    return REPEATED if check == "field_uniqueness" else check
