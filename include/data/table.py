"""The possum table: reading it, and telling training animals from holdout animals."""

from __future__ import annotations

import csv
from hashlib import sha256
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from include.config import CASE, CATEGORICAL, NUMERIC, SPLIT, TARGET
from include.data.checks import Inspection, inspect

HOLDOUT_SHARE = 0.25


class TableError(ValueError):
    """A table of possums cannot be used; the message names file, row and column."""


def read_rows(file: Path) -> pd.DataFrame:
    """Read a table of possums as it is, one row a line of the file.

    :raises TableError: if the file is missing, has no rows or is no table
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise TableError(f"{file} is missing: put the possum table there") from None
    except OSError as error:
        raise TableError(f"{file} is no table of comma-separated values: {error}") from error
    return parse_rows(content, str(file))


def parse_rows(content: bytes, name: str) -> pd.DataFrame:
    """Read the content of a file of possums as it is, one row a line.

    :param name: of the file, for messages
    :raises TableError: if it has no rows or is no table
    """
    try:
        text = content.decode("utf-8-sig")
        _check_shape(text, name)
        rows = pd.read_csv(StringIO(text))
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{name} is no table of comma-separated values: {error}") from error
    if rows.empty:
        raise TableError(f"{name} has no rows: the header is followed by nothing")
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


def select_holdout(table: pd.DataFrame) -> pd.DataFrame:
    """Return the animals that a model is judged by: held out, and with a tail length."""
    return table[(table[SPLIT] == "holdout") & table[TARGET].notna()]


def remove_known(animals: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return the animals that are not in `known`, each once.

    An animal is known by its raw columns: its number may be another one in another file.
    """
    identities = _identify(animals)
    news = ~identities.isin(_identify(known)) & ~identities.duplicated()
    return animals[news.to_numpy()]


def name_categories(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return categories as text; a site is the same whether it was read as 1 or as 1.0."""
    named = rows[CATEGORICAL].astype(object).map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    return {name: named[name].to_numpy() for name in CATEGORICAL}


def hash_table(table: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's content: columns, types and values in their order."""
    header = repr([(name, str(dtype)) for name, dtype in table.dtypes.items()]).encode()
    return sha256(header + table.to_csv(index=False).encode()).hexdigest()


def _identify(rows: pd.DataFrame) -> pd.Series:
    numbers = rows[NUMERIC].astype(float).round(6)  # what went through text may differ in the last digit
    return pd.util.hash_pandas_object(numbers.assign(**name_categories(rows)), index=False)


def _position(case: object) -> float:
    """Place an animal evenly in [0, 1)."""
    return int.from_bytes(sha256(str(case).encode()).digest()[:8]) / 2**64


def _check_shape(text: str, name: str) -> None:
    """Refuse rows with more or fewer cells than the header: pandas shifts or fills them without a word."""
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    width = len(next(rows, []))
    for cells in rows:
        if cells and len(cells) != width:
            raise TableError(f"{name}, row {rows.line_num}: {len(cells)} cells under a header of {width}")
