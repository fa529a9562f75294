"""Checks of a table: what is repaired, what is an error, and what is only a warning."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from include.data.cleaning import trim
from include.data.counts import Counts
from include.data.identity import add_identity
from include.data.reading import TableError
from include.data.schema import (
    ABSENT,
    MAX_SHOWN,
    REPEATED,
    Failures,
    Result,
    build_expectations,
    build_schema,
    describe_range,
    expected_check,
    is_possible,
    list_checks,
    name_row,
    possible_check,
    shorten,
    to_numbers,
    validate,
)
from include.data.seen import Seen, hash_cells
from include.spec import PREDICTION_ID, Problem


@dataclass(frozen=True)
class Inspection:
    """A table after repairs, and the result of every check.

    `table` has the columns ``problem.row_id`` (if there is one), ``problem.inputs`` and the target, in the index of the
    rows that came in. Use it only if there are no errors. Of a table in batches it is empty; `rows` is its length.
    """

    table: pd.DataFrame
    results: tuple[Result, ...]
    rows: int

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
        lines = [f"{len(self.results)} checks, {passed} passed; {self.rows} rows after repairs"]
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
    inspector = Inspector(problem, labelled=labelled)
    table = inspector.add(rows)
    return replace(inspector.finish(), table=table)


class Inspector:
    """Repairs and checks a table that comes in batches, with the results of :func:`inspect` for the whole of it.

    What is kept of a batch are counts, the failures that are shown, and 32 bytes for each row.

    :param labelled: as in :func:`inspect`
    :param name: of a row by its index, for messages
    """

    def __init__(self, problem: Problem, *, labelled: bool = False, name: Callable[[int], str] = name_row) -> None:
        self._problem, self._labelled, self._name = problem, labelled, name
        self._schema, self._expectations = build_schema(problem), build_expectations(problem)
        self._errors = dict.fromkeys(list_checks(self._schema), Failures())
        self._warnings = dict.fromkeys(list_checks(self._expectations), Failures())
        if problem.row_id:  # which is looked for through all batches
            self._schema = self._schema.update_column(problem.row_id, unique=False)
        self._counts = {name: Counts(problem.number(name)) for name in (*problem.numbers, problem.target.name)}
        self._impossible = dict.fromkeys(self._counts, Failures())
        self._columns: list[str] = []
        self._trimmed, self._repeated, self._rows = 0, Failures(), 0
        self._contents, self._ids = Seen(), Seen()

    @property
    def failed(self) -> bool:
        """Whether an error was found; the rows that are added are still checked."""
        return any(found.count for found in self._errors.values())

    def add(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Check the next rows, and return them repaired, in the columns and types of the problem unless it failed.

        :param rows: as :func:`include.data.reading.parse_rows` returns them, with an index that ascends from one batch
            to the next
        """
        self._columns = [*rows]
        trimmed, count = trim(rows, self._problem)
        self._trimmed += count
        possible = self._drop_impossible(self._drop_repeated(trimmed))
        checked, errors = validate(self._schema, possible)
        _add(self._errors, errors)
        self._find_repeated_ids(possible)
        self._rows += len(checked)
        if not self.failed:
            _add(self._warnings, validate(self._expectations, checked)[1])
        return checked

    def finish(self) -> Inspection:
        """Return the results for all rows that were added."""
        limits, target = self._problem.limits, self._problem.target
        counted = [counts for column, counts in self._counts.items() if column in self._columns]
        errors = [found.result("error", *check, self._name) for check, found in self._errors.items()]
        if not self._labelled:
            errors += [c.check_missing("error", limits.max_missing) for c in counted if c.column != target]
        errors += [counts.check_unit(limits.max_unexpected) for counts in counted]
        results = [*self._report_repairs(), _find_unknown(self._columns, self._problem), *errors]
        if not any(result.count for result in errors):
            results += [] if self._labelled else self._check_use()
            results += [found.result("warning", *check, self._name) for check, found in self._warnings.items()]
            results += [counts.check_missing("warning", limits.usual_missing) for counts in counted]
        return Inspection(pd.DataFrame(), tuple(results), self._rows)

    def _drop_repeated(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Leave out rows that are there twice, id and all; without an id, equal rows may be different ones."""
        described = (self._problem.row_id, *self._problem.inputs, self._problem.target.name)
        keys = hash_cells(rows[[name for name in described if name in rows]])
        repeated = pd.Series(keys).duplicated().to_numpy() | (self._contents.first(keys) >= 0)
        self._contents.add(keys[~repeated], rows.index[~repeated].to_numpy())
        shown = [(index, ": the same as a row before it, left out") for index in rows.index[repeated][:MAX_SHOWN]]
        self._repeated += Failures(tuple(shown), int(repeated.sum()))
        return rows[~repeated] if self._problem.row_id in rows else rows

    def _drop_impossible(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Take impossible numbers as missing."""
        repaired = rows.copy()
        for name in [name for name in self._counts if name in rows]:
            column = self._problem.number(name)
            numbers, all_numbers = to_numbers(rows[name])
            possible = is_possible(numbers, column)
            repaired[name] = (numbers if all_numbers else rows[name]).where(possible, np.nan)
            self._counts[name].add(numbers, repaired[name])
            reason = f"is impossible ({describe_range(column.possible, column.unit)}), taken as missing"
            shown = numbers[~possible].head(MAX_SHOWN)
            lines = [f", column {name}: {value:g} {reason}" for value in shown]
            self._impossible[name] += Failures(tuple(zip(shown.index, lines, strict=True)), int((~possible).sum()))
        return repaired

    def _find_repeated_ids(self, rows: pd.DataFrame) -> None:
        """Find each row whose id another row has, of these or of those before."""
        name = self._problem.row_id
        if name is None or name not in rows:
            return
        ids = rows[name].dropna()
        keys, index = hash_cells(ids.to_frame()), ids.index.to_numpy()
        first, again = self._ids.first(keys), pd.Series(keys).duplicated().to_numpy()
        before = (first >= 0) & ~again & (self._ids.count(keys) == 1)  # rows before that were the only ones
        repeated = pd.Series(keys).duplicated(keep=False).to_numpy() | (first >= 0)
        self._ids.add(keys, index)
        for places, found in ((first, before), (index, repeated)):
            order = np.argsort(places[found], kind="stable")[:MAX_SHOWN]
            texts = [f", column {name}: {shorten(text)} {REPEATED}" for text in ids[found].iloc[order]]
            shown = tuple(zip(places[found][order].tolist(), texts, strict=True))
            self._errors[name, REPEATED] += Failures(shown, int(found.sum()))

    def _report_repairs(self) -> Iterator[Result]:
        lines = (f"{self._trimmed} cells had blanks around them: removed",) if self._trimmed else ()
        yield Result("repair", "all", "no cell has blanks around it", lines, len(lines))
        yield self._report_repeated()
        impossible = [found.result("repair", column, "", self._name) for column, found in self._impossible.items()]
        named = [line for result in impossible for line in result.failures][:MAX_SHOWN]
        count = sum(result.count for result in impossible)
        yield Result("repair", "all", "no number is impossible", tuple(named), count)

    def _report_repeated(self) -> Result:
        check = ("all", "no row is repeated")
        if self._problem.row_id in self._columns:
            return self._repeated.result("repair", *check, self._name)
        count = self._repeated.count
        line = f"{count} rows equal another one: kept, because rows have no id. Remove them if they are copies"
        return Result("warning", *check, (line,) if count else (), int(count > 0))

    def _check_use(self) -> Iterator[Result]:
        """Check that there is enough to learn from."""
        *features, target = self._counts.values()
        yield from target.check_target(self._problem.limits)
        yield from (counts.check_varies("leave it out of `features` if it is") for counts in features)
        yield target.check_varies("there is nothing to learn")


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
    :param unexpected: ``"error"`` if a number outside of its expected range is one; else :func:`describe_unexpected`
    :raises TableError: the message names every error with row and column
    """
    if rows.empty:
        raise TableError(f"{name} has no rows: give it at least one")
    schema = build_schema(problem).remove_columns([problem.target.name])
    kinds = (possible_check, expected_check) if unexpected == "error" else (possible_check,)
    checks = {name: [check(problem.number(name)) for check in kinds] for name in problem.numbers}
    schema = schema.update_columns({name: {"checks": listed} for name, listed in checks.items()})
    if problem.row_id and not with_id:
        schema = schema.remove_columns([problem.row_id])
    numbered = trim(rows, problem)[0].set_axis(range(first - 2, first - 2 + len(rows)))
    checked, failures = validate(schema, numbered)
    results = [found.result("error", *check) for check, found in failures.items()]
    if errors := [line for result in results for line in describe_failures(result)]:
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


def _add(failures: dict[tuple[str, str], Failures], found: Mapping[tuple[str, str], Failures]) -> None:
    """Add the failures of a batch; that a column is missing is found in each."""
    for check, new in found.items():
        failures[check] = new if check[1] == ABSENT else failures.get(check, Failures()) + new


def _find_unknown(columns: Sequence[str], problem: Problem) -> Result:
    known = {problem.row_id, *problem.inputs, problem.target.name, PREDICTION_ID}
    lines = [f"column {name} is not described in include/problem.py: ignored" for name in columns if name not in known]
    return Result("warning", "all", "every column is described", tuple(lines[:MAX_SHOWN]), len(lines))
