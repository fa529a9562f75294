"""The schemas of a problem's table, as pandera checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from include.spec import Category, Number, Problem, Range

MAX_COLUMNS = 100  # of a table that a message names


def validate(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    """Return rows in the columns and types of a schema, and a line for each failure of each of its checks.

    :return: the rows, as they came if a check failed; lines by column and check
    """
    failures: dict[tuple[str, str], list[str]] = {check: [] for check in _list_checks(schema)}
    table = rows
    try:
        table = schema.validate(rows, lazy=True)[list(schema.columns)]
    except SchemaErrors as errors:
        for column, check, line in _list_failures(errors, rows, schema):
            failures.setdefault((column, check), []).append(line)
    return table, {check: list(dict.fromkeys(lines)) for check, lines in failures.items()}


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


def _list_failures(
    errors: SchemaErrors, rows: pd.DataFrame, schema: pa.DataFrameSchema
) -> Iterator[tuple[str, str, str]]:
    """Yield column, check and one line for every failure, each once for a cell."""
    cases = errors.failure_cases
    cells = {name: rows[name].to_dict() for name in set(cases["column"]).intersection(rows)}
    others = ", ".join(sorted(set(rows).difference(schema.columns))[:MAX_COLUMNS]) or "none"
    wanted = (cases[name] for name in ("column", "check", "failure_case", "index"))
    for column, check, case, index in zip(*wanted, strict=True):
        if check == "column_in_dataframe":
            yield case, "is missing from the table", f"column {case} is missing; other columns of the table: {others}"
        elif pd.notna(index):  # a check that could not run on text has no row; the text itself has one
            value = cells[column][int(index)]
            reason = "is missing" if pd.isna(value) else _reason(check)
            described = reason if pd.isna(value) else f"{value} {reason}"
            yield column, reason, f"{name_row(index)}, column {column}: {described}"
        elif str(case) == "False":  # a check of the column as a whole
            yield column, check, f"column {column}: {check}"


def _reason(check: str) -> str:
    if check.startswith(("coerce_dtype", "dtype")):
        return "is not a number"
    return "occurs more than once" if check == "field_uniqueness" else check


def name_row(index: object) -> str:
    """Return the row of a file that has this index: the first one below the header is row 2."""
    return f"row {int(str(index)) + 2}"
