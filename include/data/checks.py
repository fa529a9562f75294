"""The quality of a possum table: what is cleaned, what stops a run, and what is only warned about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from include.config import CASE, NUMERIC, TARGET

RARELY_MISSING, MOSTLY_MISSING = 0.05, 0.5  # share of a column's cells


@dataclass(frozen=True)
class Measure:
    """What a measurement can be.

    :param possible: no possum is outside; the bounds themselves are out too
    :param expected: the 104 animals of Lindenmayer et al. (1995) and a tenth beyond them
    """

    unit: str
    possible: tuple[float, float]
    expected: tuple[float, float]


MEASURES = {
    "age": Measure("years", (0, 25), (0.5, 10)),
    "hdlngth": Measure("mm", (0, 200), (74, 114)),
    "skullw": Measure("mm", (0, 150), (45, 76)),
    "totlngth": Measure("cm", (0, 150), (67, 107)),
    TARGET: Measure("cm", (0, 80), (28, 48)),
    "footlgth": Measure("mm", (0, 150), (54, 86)),
    "earconch": Measure("mm", (0, 120), (36, 62)),
    "eye": Measure("mm", (0, 40), (11, 20)),
    "chest": Measure("cm", (0, 80), (19, 36)),
    "belly": Measure("cm", (0, 100), (22, 44)),
}


@dataclass(frozen=True)
class Result:
    """What one check found: ``faults`` has a line for each cell or row that failed."""

    severity: str  # "cleaning", "halting" or "warning"
    column: str
    check: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """A table after cleaning, in the columns of ``SCHEMA``, and the result of every check.

    The index of ``table`` is that of the rows that came in.
    """

    table: pd.DataFrame
    results: tuple[Result, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every check passed and nothing had to be cleaned."""
        return not any(result.faults for result in self.results)

    def faults(self, severity: str) -> list[str]:
        """Return one line for each fault of a severity."""
        return [fault for result in self.results if result.severity == severity for fault in result.faults]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a check: ``severity``, ``column``, ``check``, ``failures`` (count) and ``faults`` (text)."""
        rows = [(r.severity, r.column, r.check, len(r.faults), "\n".join(r.faults)) for r in self.results]
        return pd.DataFrame(rows, columns=["severity", "column", "check", "failures", "faults"])

    def report(self) -> str:
        """Return what was found, for a person to read: totals first, then every fault with its row."""
        passed = sum(not result.faults for result in self.results)
        lines = [f"{len(self.results)} checks, {passed} passed; {len(self.table)} rows after cleaning"]
        for severity in ("halting", "warning", "cleaning"):
            faults = self.faults(severity)
            lines += [f"{severity}: {len(faults) or 'nothing'}", *(f"  {fault}" for fault in faults)]
        return "\n".join(lines)


def _missing_at_most(share: float) -> pa.Check:
    return pa.Check(
        lambda cells: cells.isna().mean() <= share, ignore_na=False, error=f"at most {share:.0%} of it is missing"
    )


def _within(measure: Measure) -> pa.Check:
    low, high = measure.expected
    return pa.Check.in_range(low, high, error=f"is rarely outside {low:g} to {high:g} {measure.unit}")


def _one_of(*values: str) -> pa.Check:
    return pa.Check.isin(values, error=f"must be one of {', '.join(values)}")


_POSITIVE = pa.Check.gt(0, error="must be greater than 0")
_WHOLE = pa.Check(lambda numbers: numbers % 1 == 0, error="must be a whole number")
_SOME = pa.Check(
    lambda cells: cells.notna().any(),
    ignore_na=False,
    error="every value is missing, so there is nothing to learn from",
)

# Without these no run goes on.
SCHEMA = pa.DataFrameSchema(
    {
        CASE: pa.Column(float, [_WHOLE], unique=True, description="the animal"),
        "site": pa.Column(float, [_POSITIVE, _WHOLE], description="where it was trapped"),
        "Pop": pa.Column(str, [_one_of("Vic", "other")], description="Victoria or elsewhere"),
        "sex": pa.Column(str, [_one_of("f", "m")]),
        **{
            name: pa.Column(float, [_missing_at_most(MOSTLY_MISSING)], nullable=True, description=MEASURES[name].unit)
            for name in NUMERIC
        },
        TARGET: pa.Column(float, [_SOME], nullable=True, description=MEASURES[TARGET].unit),
    },
    coerce=True,
)

# Without these a file of animals measured later does not join: like the above, but for a table of a single row, of
# which nothing may be known but who it is.
LABELLED_SCHEMA = SCHEMA.update_columns({name: {"checks": []} for name in [*NUMERIC, TARGET]})

# With these a run goes on, and says so.
EXPECTATIONS = pa.DataFrameSchema(
    {
        "site": pa.Column(float, [pa.Check.isin(range(1, 8), error="is none of the sites 1 to 7 that are known")]),
        **{
            name: pa.Column(float, [_within(measure), _missing_at_most(RARELY_MISSING)], nullable=True)
            for name, measure in MEASURES.items()
        },
    },
    coerce=True,
)


def inspect(rows: pd.DataFrame, schema: pa.DataFrameSchema = SCHEMA) -> Inspection:
    """Clean rows of possums and check them.

    Cleaning leaves out rows that are there twice and takes impossible values for missing.

    :param rows: as they are in a file; an index that counts them from 0 makes faults name the file's rows,
        which count from 1, the header
    :param schema: what the rows must keep to
    :return: the cleaned table, of use only if there are no ``halting`` faults, and every check's result
    """
    unique, repeated = _drop_repeated(rows)
    possible, impossible = _drop_impossible(unique)
    checked, halting = run_checks(schema, possible, "halting")
    usable = [] if any(result.faults for result in halting) else run_checks(EXPECTATIONS, checked, "warning")[1]
    return Inspection(checked, (repeated, impossible, *halting, *usable))


def run_checks(schema: pa.DataFrameSchema, rows: pd.DataFrame, severity: str) -> tuple[pd.DataFrame, list[Result]]:
    """Return rows in the columns and types of a schema, and the result of each of its checks.

    :param rows: faults name them by their index plus 2, as a file counts that has a header
    """
    faults: dict[tuple[str, str], list[str]] = {check: [] for check in _checks(schema)}
    table = rows
    try:
        table = schema.validate(rows, lazy=True)[list(schema.columns)]
    except SchemaErrors as errors:
        for column, check, fault in _faults(errors, rows, set(rows) - set(schema.columns)):
            faults.setdefault((column, check), []).append(fault)
    return table, [
        Result(severity, column, check, tuple(dict.fromkeys(found))) for (column, check), found in faults.items()
    ]


def _drop_repeated(rows: pd.DataFrame) -> tuple[pd.DataFrame, Result]:
    repeated = rows.duplicated()
    faults = tuple(f"{_row(index)}: the same as a row before it, left out" for index in rows.index[repeated])
    return rows[~repeated], Result("cleaning", "all", "no row is there twice", faults)


def _drop_impossible(rows: pd.DataFrame) -> tuple[pd.DataFrame, Result]:
    cleaned, faults = rows.copy(), []
    for name in [name for name in MEASURES if name in rows]:
        measure = MEASURES[name]
        numbers = pd.to_numeric(rows[name], errors="coerce")
        impossible = numbers.notna() & ~numbers.between(*measure.possible, inclusive="neither")
        cleaned[name] = rows[name].mask(impossible)
        reason = f"is impossible (between {measure.possible[0]:g} and {measure.possible[1]:g} {measure.unit})"
        faults += [
            f"{_row(index)}, column {name}: {value:g} {reason}, taken for missing"
            for index, value in numbers[impossible].items()
        ]
    return cleaned, Result("cleaning", "all", "no measurement is impossible", tuple(faults))


def _checks(schema: pa.DataFrameSchema) -> Iterator[tuple[str, str]]:
    """Yield column and check for everything that a schema demands."""
    for name, column in schema.columns.items():
        yield name, "is there"
        yield name, "is not a number" if column.dtype.type == "float64" else "is not text"
        if not column.nullable:
            yield name, "is missing"
        if column.unique:
            yield name, "occurs more than once"
        yield from ((name, check.error) for check in column.checks)


def _faults(errors: SchemaErrors, rows: pd.DataFrame, unknown: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield column, check and one line for every fault, each fault once for a cell."""
    for failure in errors.failure_cases.itertuples():
        if failure.check == "column_in_dataframe":
            name = failure.failure_case
            others = ", ".join(sorted(unknown)) or "none"
            yield name, "is there", f"column {name} is missing; columns that no one asked for: {others}"
        elif pd.notna(failure.index):  # a check that could not run on text has no row; the text itself has one
            value = rows[failure.column].loc[int(failure.index)]
            reason = "is missing" if pd.isna(value) else _reason(failure.check)
            fault = reason if pd.isna(value) else f"{value} {reason}"
            yield failure.column, reason, f"{_row(failure.index)}, column {failure.column}: {fault}"
        elif str(failure.failure_case) == "False":  # a check of the column as a whole
            yield failure.column, failure.check, f"column {failure.column}: {failure.check}"


def _reason(check: str) -> str:
    if check.startswith(("coerce_dtype", "dtype")):
        return "is not a number"
    return "occurs more than once" if check == "field_uniqueness" else check


def _row(index: object) -> str:
    return f"row {int(str(index)) + 2}"
