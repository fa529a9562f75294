"""Checks of a table: what is repaired, what is an error, and what is only a warning."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from numbers import Number as AnyNumber
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from include.data.identity import add_identity
from include.data.reading import TableError
from include.spec import Category, Number, Problem, Range

# Texts that stand for a missing cell, in any CSV file.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")
MAX_SHOWN = 100  # failures of a check that are named; all are counted
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
    checked, errors = run_checks(_schema(problem, labelled=labelled), possible, "error")
    errors += _check_units(unique, problem)
    results = [trim, repeated, impossible, _find_unknown(rows, problem), *errors]
    if not any(result.count for result in errors):
        results += [] if labelled else _check_target(checked, problem)
        results += run_checks(_expectations(problem), checked, "warning")[1]
    return Inspection(checked, tuple(results))


def check_inputs(
    rows: pd.DataFrame, problem: Problem, name: str, *, with_id: bool = True, first: int = 2
) -> pd.DataFrame:
    """Check rows to predict, and return ``problem.id`` (if `with_id`) and ``problem.inputs``.

    Impossible numbers are errors here, because a repair of rows to predict would go unnoticed.

    :param name: of the rows, for messages
    :param first: the number of the first row, for messages
    :raises TableError: the message names every error with row and column
    """
    if rows.empty:
        raise TableError(f"{name} has no rows: give it at least one")
    schema = _schema(problem, labelled=True).remove_columns([problem.target.name])
    schema = schema.update_columns(
        {number: {"checks": [_possible(problem.number(number))]} for number in problem.numbers}
    )
    if problem.row_id and not with_id:
        schema = schema.remove_columns([problem.row_id])
    numbered = _trim(rows, problem)[0].set_axis(range(first - 2, first - 2 + len(rows)))
    checked, results = run_checks(schema, numbered, "error")
    if errors := Inspection(checked, tuple(results)).failures("error"):
        raise TableError(f"{name} cannot be used:\n" + "\n".join(errors))
    checked = checked.reset_index(drop=True)
    return add_identity(checked, problem) if with_id else checked


def run_checks(schema: pa.DataFrameSchema, rows: pd.DataFrame, severity: str) -> tuple[pd.DataFrame, list[Result]]:
    """Return rows in the columns and types of a schema, and the result of each of its checks."""
    failures: dict[tuple[str, str], list[str]] = {check: [] for check in _list_checks(schema)}
    table = rows
    try:
        table = schema.validate(rows, lazy=True)[list(schema.columns)]
    except SchemaErrors as errors:
        for column, check, line in _list_failures(errors, rows, schema):
            failures.setdefault((column, check), []).append(line)
    return table, [
        _result(severity, column, check, list(dict.fromkeys(found))) for (column, check), found in failures.items()
    ]


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
    lines = [f"{_row(index)}: the same as a row before it, left out" for index in rows.index[repeated]]
    return rows[~repeated], _result("repair", "all", "no row is repeated", lines)


def _drop_impossible(rows: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, Result]:
    repaired, lines = rows.copy(), []
    for name in [name for name in (*problem.numbers, problem.target.name) if name in rows]:
        column = problem.number(name)
        numbers = _to_numbers(rows[name])
        impossible = ~_is_possible(numbers, column)
        repaired[name] = rows[name].mask(impossible, np.nan)
        reason = f"is impossible ({_describe_range(column.possible, column.unit)}), taken as missing"
        lines += [f"{_row(i)}, column {name}: {value:g} {reason}" for i, value in numbers[impossible].items()]
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
        cells = _to_numbers(rows[name]).dropna()
        outside = float((~cells.between(low, high)).mean()) if len(cells) >= MIN_JUDGED else 0.0
        lines = [
            f"column {name}: {outside:.0%} of its values are outside of the expected "
            f"{_describe_range(column.expected, column.unit)}. Is it in another unit? "
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
    constant = [f"column {name}: every value is {known.iloc[0]:g}, there is nothing to learn"] if len(known) else []
    yield _result("error", name, "varies", constant if known.nunique() == 1 else [])


def _schema(problem: Problem, *, labelled: bool) -> pa.DataFrameSchema:
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


def _expectations(problem: Problem) -> pa.DataFrameSchema:
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
                name: pa.Column(float, [_expected(problem.number(name)), usual], nullable=True)
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


def _expected(column: Number) -> pa.Check:
    described = _describe_range(column.expected, column.unit)
    return pa.Check.in_range(*column.expected, error=f"is outside of the expected {described}")


def _possible(column: Number) -> pa.Check:
    described = _describe_range(column.possible, column.unit)
    return pa.Check(lambda cells: _is_possible(_to_numbers(cells), column), error=f"is impossible ({described})")


def _to_numbers(cells: pd.Series) -> pd.Series:
    """Return the cells as floats, as a schema converts them; NaN for one that is not a number."""
    return pd.Series([_to_number(cell) for cell in cells], cells.index, float)


def _to_number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):  # pd.NA is a TypeError
        return np.nan


def _is_possible(numbers: pd.Series, column: Number) -> pd.Series:
    return numbers.isna() | (numbers.between(*column.possible) & np.isfinite(numbers))


def _describe_range(bounds: Range, unit: str) -> str:
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
    others = ", ".join(sorted(set(rows).difference(schema.columns))[:MAX_SHOWN]) or "none"
    wanted = (cases[name] for name in ("column", "check", "failure_case", "index"))
    for column, check, case, index in zip(*wanted, strict=True):
        if check == "column_in_dataframe":
            yield case, "is missing from the table", f"column {case} is missing; other columns of the table: {others}"
        elif pd.notna(index):  # a check that could not run on text has no row; the text itself has one
            value = cells[column][int(index)]
            reason = "is missing" if pd.isna(value) else _reason(check)
            yield column, reason, f"{_row(index)}, column {column}: {reason if pd.isna(value) else f'{value} {reason}'}"
        elif str(case) == "False":  # a check of the column as a whole
            yield column, check, f"column {column}: {check}"


def _reason(check: str) -> str:
    if check.startswith(("coerce_dtype", "dtype")):
        return "is not a number"
    return "occurs more than once" if check == "field_uniqueness" else check


def _row(index: object) -> str:
    return f"row {int(str(index)) + 2}"
