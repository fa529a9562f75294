"""The raw possum table: reading it, checking it, and telling training animals from holdout animals."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from include.config import CASE, NUMERIC, SPLIT, TARGET

HOLDOUT_SHARE = 0.25


def _one_of(*values: str) -> pa.Check:
    return pa.Check.isin(values, error=f"must be one of {', '.join(values)}")


_POSITIVE = pa.Check.gt(0, error="must be greater than 0")
_FINITE = pa.Check.lt(float("inf"), error="must be a finite number")
_WHOLE = pa.Check(lambda numbers: numbers % 1 == 0, error="must be a whole number")

SCHEMA = pa.DataFrameSchema(
    {
        CASE: pa.Column(float, _WHOLE, unique=True, description="the animal"),
        "site": pa.Column(float, [_POSITIVE, _WHOLE], description="where it was trapped"),
        "Pop": pa.Column(str, _one_of("Vic", "other"), description="Victoria or elsewhere"),
        "sex": pa.Column(str, _one_of("f", "m")),
        **{name: pa.Column(float, [_POSITIVE, _FINITE], nullable=True) for name in [*NUMERIC, TARGET]},
    },
    coerce=True,
)


class TableError(ValueError):
    """A table of possums cannot be used; the message names file, row and column."""


def read_possums(file: Path) -> pd.DataFrame:
    """Read and check a table of possums.

    :param file: CSV file with the columns of ``SCHEMA``; rows count from 1, the header
    :return: one row an animal, the columns of ``SCHEMA`` and ``split``
    :raises TableError: if the file is missing, empty or breaks the schema, or has no animal with a tail length
    """
    try:
        _check_shape(file)
        table = pd.read_csv(file)
    except FileNotFoundError:
        raise TableError(f"{file} is missing: put the possum table there") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, csv.Error, OSError) as error:
        raise TableError(f"{file} is no table of comma-separated values: {error}") from error
    if table.empty:
        raise TableError(f"{file} has no rows: the header is followed by nothing")
    checked = _check(table, file)
    if checked[TARGET].isna().all():
        raise TableError(f"{file}, column {TARGET}: every value is missing, so there is nothing to learn from")
    return checked.assign(**{SPLIT: split_animals(checked[CASE])})


def split_animals(case: pd.Series) -> pd.Series:
    """Tell training animals from holdout animals, by a hash of the animal alone.

    An animal keeps its side whatever other animals are in the table.

    :param case: the animals' identities
    :return: ``"train"`` or ``"holdout"`` for each
    """
    return case.map(_position).lt(HOLDOUT_SHARE).map({True: "holdout", False: "train"})


def select_training(table: pd.DataFrame) -> pd.DataFrame:
    """Return the animals that a model may learn from: not held out, and with a tail length."""
    return table[(table[SPLIT] == "train") & table[TARGET].notna()]


def hash_table(table: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's content: columns, types and values in their order."""
    header = repr([(name, str(dtype)) for name, dtype in table.dtypes.items()]).encode()
    return sha256(header + table.to_csv(index=False).encode()).hexdigest()


def _position(case: object) -> float:
    """Place an animal evenly in [0, 1)."""
    return int.from_bytes(sha256(str(case).encode()).digest()[:8]) / 2**64


def _check_shape(file: Path) -> None:
    """Refuse rows with more or fewer cells than the header: pandas shifts or fills them without a word."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, strict=True)
        width = len(next(rows, []))
        for cells in rows:
            if cells and len(cells) != width:
                raise TableError(f"{file}, row {rows.line_num}: {len(cells)} cells under a header of {width}")


def _check(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    try:
        checked = SCHEMA.validate(table, lazy=True)[list(SCHEMA.columns)]
    except SchemaErrors as errors:
        raise TableError(f"{file} cannot be used:\n" + "\n".join(_complaints(errors, table))) from None
    return checked.astype({CASE: int, "site": int})  # not by the schema, which would cut off decimals in silence


def _complaints(errors: SchemaErrors, table: pd.DataFrame) -> list[str]:
    """Say what is wrong with a table, one line a fault, each fault once."""
    lines = []
    for failure in errors.failure_cases.itertuples():
        if failure.check == "column_in_dataframe":
            unknown = ", ".join(sorted(set(table.columns) - set(SCHEMA.columns))) or "none"
            lines.append(f"column {failure.failure_case} is missing; columns that no one asked for: {unknown}")
        elif pd.notna(failure.index):  # a check that could not run on text has no row; the text itself has one
            value = table[failure.column].iloc[int(failure.index)]
            fault = "is missing" if pd.isna(value) else f"{value} {_reason(failure.check)}"
            lines.append(f"row {int(failure.index) + 2}, column {failure.column}: {fault}")
    return list(dict.fromkeys(lines)) or [str(errors)]


def _reason(check: str) -> str:
    if check.startswith(("coerce_dtype", "dtype")):
        return "is not a number"
    return "occurs more than once" if check == "field_uniqueness" else check
