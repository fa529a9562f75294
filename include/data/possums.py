"""The possum table: reading it, and telling training animals from holdout animals."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

import pandas as pd

from include.config import CASE, SPLIT, TARGET
from include.data.quality import Inspection, inspect

HOLDOUT_SHARE = 0.25


class TableError(ValueError):
    """A table of possums cannot be used; the message names file, row and column."""


def read_rows(file: Path) -> pd.DataFrame:
    """Read a table of possums as it is, one row a line of the file.

    :raises TableError: if the file is missing, has no rows or is no table
    """
    try:
        _check_shape(file)
        rows = pd.read_csv(file)
    except FileNotFoundError:
        raise TableError(f"{file} is missing: put the possum table there") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, csv.Error, OSError) as error:
        raise TableError(f"{file} is no table of comma-separated values: {error}") from error
    if rows.empty:
        raise TableError(f"{file} has no rows: the header is followed by nothing")
    return rows


def select_possums(inspection: Inspection, source: Path | str) -> pd.DataFrame:
    """Return the animals of a table that was inspected, each told to be for training or held out.

    :param source: what the table was read from, for the message
    :return: one row an animal, the columns of ``SCHEMA`` and ``split``
    :raises TableError: the inspection found faults that stop a run
    """
    if faults := inspection.faults("halting"):
        raise TableError(f"{source} cannot be used:\n" + "\n".join(faults))
    table = inspection.table.astype({CASE: int, "site": int})  # not by the schema, which cuts off decimals in silence
    return table.assign(**{SPLIT: split_animals(table[CASE])}).reset_index(drop=True)


def read_possums(file: Path) -> pd.DataFrame:
    """Read, clean and check a table of possums.

    :param file: CSV file with the columns of ``SCHEMA``; rows count from 1, the header
    :return: as :func:`select_possums`
    :raises TableError: if the file is missing, empty or no table, or has faults that stop a run
    """
    return select_possums(inspect(read_rows(file)), file)


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
