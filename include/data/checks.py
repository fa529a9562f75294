"""Checks of a table: what is repaired, what is an error, and what is only a warning."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from numbers import Number as AnyNumber

import numpy as np
import pandas as pd
import pandera.pandas as pa

from include.data.identity import add_identity
from include.data.reading import TableError
from include.data.schema import (
    MAX_SHOWN,
    build_expectations,
    build_schema,
    describe_range,
    expected_check,
    is_possible,
    name_row,
    possible_check,
    to_numbers,
    validate,
)
from include.spec import Category, Problem

# Texts that stand for a missing cell, in any CSV file.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")
MIN_JUDGED = 10  # cells of a column from which on its share outside of the expected range counts


@dataclass(frozen=True)
class Result:
    """What one check found: `failures` names the first ``MAX_SHOWN`` of `count`."""

    severity: str  # "repair", "error" or "warning"
    column: str
    check: str
    failures: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class Inspection:
    """A table after repairs, and the result of every check.

    `table` has the columns ``problem.row_id`` (if there is one), ``problem.inputs`` and the target, in the index of the
    rows that came in. Use it only if there are no errors.
    """

    table: pd.DataFrame
    results: tuple[Result, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every check passed and nothing was repaired."""
        return not any(result.count for result in self.results)

    def failures(self, severity: str) -> list[str]:
        """Return a line for each failure of a severity, and one for those of a check that are not named."""
        return [line for result in self.results if result.severity == severity for line in describe_failures(result)]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per check: ``severity``, ``column``, ``check``, ``failures`` (count), ``details``."""
        rows = [(r.severity, r.column, r.check, r.count, "\n".join(describe_failures(r))) for r in self.results]
        return pd.DataFrame(rows, columns=["severity", "column", "check", "failures", "details"])

    def report(self) -> str:
        """Return the results for a person: totals first, then the failures with their rows."""
        passed = sum(not result.count for result in self.results)
        lines = [f"{len(self.results)} checks, {passed} passed; {len(self.table)} rows after repairs"]
        for severity in ("error", "warning", "repair"):
            count = sum(result.count for result in self.results if result.severity == severity)
            lines += [f"{severity}s: {count or 'none'}", *(f"  {line}" for line in self.failures(severity))]
        return "\n".join(lines)


def describe_failures(result: Result) -> list[str]:
    """Return a line for each failure that is named, and one for the others."""
    others = result.count - len(result.failures)
    return [*result.failures, *([f"column {result.column}: {others} more: {result.check}"] if others else [])]


def inspect(rows: pd.DataFrame, problem: Problem, *, labelled: bool = False) -> Inspection:
    """Repair a table and check it.

    Repairs trim cells, leave out repeated rows, and take impossible numbers as missing.

    :param rows: as :func:`include.data.reading.parse_rows` returns them; row numbers count from 1, the header
    :param labelled: whether these rows are added to a table, and may be few
    """
    trimmed, trim = _trim(rows, problem)
    unique, repeated = _drop_repeated(trimmed, problem)
    possible, impossible = _drop_impossible(unique, problem)
    checked, errors = run_checks(build_schema(problem, labelled=labelled), possible, "error")
    errors += _check_units(unique, problem)
    results = [trim, repeated, impossible, _find_unknown(rows, problem), *errors]
    if not any(result.count for result in errors):
        results += [] if labelled else [*_check_target(checked, problem), *_check_constant(checked, problem)]
        results += run_checks(build_expectations(problem), checked, "warning")[1]
    return Inspection(checked, tuple(results))


def check_inputs(
    rows: pd.DataFrame,
    problem: Problem,
    name: str,
    *,
    with_id: bool = True,
    first: int = 2,
    unexpected: str = "warning",
) -> pd.DataFrame:
    """Check rows to predict, and return ``problem.id`` (if `with_id`) and ``problem.inputs``.

    Impossible numbers are errors here, because a repair of rows to predict would go unnoticed.

    :param name: of the rows, for messages
    :param first: the number of the first row, for messages
    :param unexpected: ``"error"`` if a number outside of its expected range is one; :func:`describe_unexpected` tells
    :raises TableError: the message names every error with row and column
    """
    if rows.empty:
        raise TableError(f"{name} has no rows: give it at least one")
    schema = build_schema(problem, labelled=True).remove_columns([problem.target.name])
    kinds = (possible_check, expected_check) if unexpected == "error" else (possible_check,)
    checks = {name: [check(problem.number(name)) for check in kinds] for name in problem.numbers}
    schema = schema.update_columns({name: {"checks": listed} for name, listed in checks.items()})
    if problem.row_id and not with_id:
        schema = schema.remove_columns([problem.row_id])
    numbered = _trim(rows, problem)[0].set_axis(range(first - 2, first - 2 + len(rows)))
    checked, results = run_checks(schema, numbered, "error")
    if errors := Inspection(checked, tuple(results)).failures("error"):
        raise TableError(f"{name} cannot be used:\n" + "\n".join(errors))
    checked = checked.reset_index(drop=True)
    return add_identity(checked, problem) if with_id else checked


def describe_unexpected(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return a text for each row that names its numbers outside of their expected range, empty if there are none.

    :param rows: any of the columns ``problem.numbers``; a missing number is not outside
    """
    texts = pd.Series("", rows.index, dtype=object)
    for column in (problem.number(name) for name in problem.numbers if name in rows):
        numbers = rows[column.name].astype(float)
        outside = numbers[~numbers.between(*column.expected) & numbers.notna()]
        expected = f"is outside of the expected {describe_range(column.expected, column.unit)}"
        texts[outside.index] += outside.map(lambda number, c=column.name, e=expected: f"; {c} {number:g} {e}")
    return texts.str.removeprefix("; ").astype("str")


def run_checks(schema: pa.DataFrameSchema, rows: pd.DataFrame, severity: str) -> tuple[pd.DataFrame, list[Result]]:
    """Return rows in the columns and types of a schema, and the result of each of its checks."""
    table, failures = validate(schema, rows)
    return table, [Result(severity, *check, *found) for check, found in failures.items()]


def _result(severity: str, column: str, check: str, failures: Sequence[str]) -> Result:
    return Result(severity, column, check, tuple(failures[:MAX_SHOWN]), len(failures))


def _trim(rows: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, Result]:
    """Remove blanks around cells, and bring texts for missing cells and for whole numbers into one form."""
    table, trimmed = rows.copy(), 0
    levels = {column.name: column.levels for column in problem.features if isinstance(column, Category)}
    texts = [*levels, *filter(None, [problem.row_id])]
    for name in [name for name in (*texts, *problem.numbers, problem.target.name) if name in rows]:
        if name in texts or not pd.api.types.is_numeric_dtype(rows[name].dtype):
            cells = rows[name].astype(object).where(rows[name].notna(), np.nan).tolist()
            missing = set(MISSING).difference(levels.get(name, ()))
            table[name] = pd.Series([_clean(cell, missing) for cell in cells], rows.index, object)
            trimmed += sum(isinstance(cell, str) and cell != cell.strip() for cell in cells)
        if name in texts:  # 1, 1.0 and "1" are one category
            table[name] = table[name].astype("str").str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    found = (f"{trimmed} cells had blanks around them: removed",) if trimmed else ()
    return table, Result("repair", "all", "no cell has blanks around it", found, len(found))


def _clean(cell: object, missing: Collection[str]) -> object:
    """Return a number as it is, anything else as text, and NaN for a text that stands for a missing cell."""
    if isinstance(cell, AnyNumber):
        return cell
    text = str(cell).strip()
    return np.nan if text in missing else text


def _drop_repeated(rows: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, Result]:
    """Leave out rows that are there twice, id and all; without an id, equal rows may be different ones."""
    described = [name for name in (problem.row_id, *problem.inputs, problem.target.name) if name in rows]
    repeated = rows.duplicated(described)
    if problem.row_id not in rows:
        lines = [
            f"{repeated.sum()} rows equal another one: kept, because rows have no id. Remove them if they are copies"
        ]
        return rows, _result("warning", "all", "no row is repeated", lines if repeated.any() else [])
    lines = [f"{name_row(index)}: the same as a row before it, left out" for index in rows.index[repeated]]
    return rows[~repeated], _result("repair", "all", "no row is repeated", lines)


def _drop_impossible(rows: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, Result]:
    repaired, lines = rows.copy(), []
    for name in [name for name in (*problem.numbers, problem.target.name) if name in rows]:
        column = problem.number(name)
        numbers = to_numbers(rows[name])
        impossible = ~is_possible(numbers, column)
        repaired[name] = rows[name].mask(impossible, np.nan)
        reason = f"is impossible ({describe_range(column.possible, column.unit)}), taken as missing"
        lines += [f"{name_row(i)}, column {name}: {value:g} {reason}" for i, value in numbers[impossible].items()]
    return repaired, _result("repair", "all", "no number is impossible", lines)


def _find_unknown(rows: pd.DataFrame, problem: Problem) -> Result:
    known = {problem.row_id, *problem.inputs, problem.target.name}
    lines = [f"column {name} is not described in include/problem.py: ignored" for name in rows if name not in known]
    return _result("warning", "all", "every column is described", lines)


def _check_units(rows: pd.DataFrame, problem: Problem) -> Iterator[Result]:
    """A column that lies mostly outside of its expected range is probably in another unit.

    :param rows: before impossible numbers are taken as missing, which those of another unit may be
    """
    for name in [name for name in (*problem.numbers, problem.target.name) if name in rows]:
        column = problem.number(name)
        low, high = column.expected
        cells = to_numbers(rows[name]).dropna()
        outside = float((~cells.between(low, high)).mean()) if len(cells) >= MIN_JUDGED else 0.0
        lines = [
            f"column {name}: {outside:.0%} of its values are outside of the expected "
            f"{describe_range(column.expected, column.unit)}. Is it in another unit? "
            "If it is right, widen `expected` in include/problem.py"
        ]
        yield _result(
            "error", name, "is in the expected unit", lines if outside > problem.limits.max_unexpected else []
        )


def _check_target(table: pd.DataFrame, problem: Problem) -> Iterator[Result]:
    """A table must hold enough to learn from."""
    name, limits = problem.target.name, problem.limits
    known = table[name].dropna()
    missing = 1 - len(known) / len(table)
    few = [f"{len(known)} rows have a target, {limits.min_rows} is the minimum: add rows"]
    yield _result("error", name, "has enough rows", few if len(known) < limits.min_rows else [])
    sparse = [f"column {name}: {missing:.0%} of its cells are missing, at most {limits.max_missing_target:.0%} may be"]
    yield _result("error", name, "is known for most rows", sparse if missing > limits.max_missing_target else [])


def _check_constant(table: pd.DataFrame, problem: Problem) -> Iterator[Result]:
    """A number that is the same in every row is a lost column, or a placeholder, more often than a fact."""
    for name in (*problem.numbers, problem.target.name):
        known = table[name].dropna()
        remedy = "there is nothing to learn" if name == problem.target.name else "leave it out of `features` if it is"
        lines = [f"column {name}: every value is {value:g}, {remedy}" for value in known.head(1)]
        yield _result("error", name, "varies", lines if known.nunique() == 1 else [])
