"""The table: reading it, telling rows apart, and setting the holdout aside."""

from __future__ import annotations

import csv
from hashlib import sha256
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import pandas as pd

from include.spec import ROW_HASH, SPLIT, Problem

if TYPE_CHECKING:
    from include.data.checks import Inspection


class TableError(ValueError):
    """A table cannot be used; the message names file, row and column, and the remedy."""


def parse_rows(content: bytes, name: str) -> pd.DataFrame:
    """Read a table as it is, one row for each line of the file.

    :param content: Parquet if `name` ends in ``.parquet``, else comma-separated values in UTF-8
    :param name: of the file, for messages
    :return: the cells of a CSV file as text, those of a Parquet file in their types; column names are trimmed
    :raises TableError: it is not a table, has no rows, or has two columns of the same name
    """
    read = _read_parquet if name.lower().endswith(".parquet") else _read_csv
    rows = read(content, name)
    rows.columns = [str(column).strip() for column in rows.columns]
    if rows.empty:
        raise TableError(f"{name} has no rows: add some below the header")
    if repeated := sorted({column for column in rows.columns if list(rows.columns).count(column) > 1}):
        raise TableError(f"{name} has more than one column {', '.join(map(repr, repeated))}: rename or remove them")
    return rows


def select_rows(inspection: Inspection, source: str, problem: Problem) -> pd.DataFrame:
    """Return the rows of an inspected table, split into training and holdout.

    :param source: what the table was read from, for the message
    :return: columns ``problem.id``, ``problem.inputs``, the target and ``_split``
    :raises TableError: the inspection found errors
    """
    if errors := inspection.failures("error"):
        raise TableError(f"{source} cannot be used:\n" + "\n".join(errors))
    table = add_identity(inspection.table.reset_index(drop=True), problem)
    return table.assign(**{SPLIT: split_rows(table[problem.id], problem.holdout_share)})


def add_identity(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the table with the column that tells rows apart in front: theirs, or a hash of their inputs.

    The second row of the same content gets ``-2`` behind its hash, the third ``-3``.
    """
    if problem.row_id:
        return table
    digests = hash_inputs(table, problem).map("{:016x}".format)
    copies = digests.groupby(digests).cumcount()
    suffixes = (copies + 1).astype(str).radd("-").where(copies > 0, "")
    return table.assign(**{ROW_HASH: digests + suffixes})[[ROW_HASH, *table.columns]]


def split_rows(ids: pd.Series, holdout_share: float) -> pd.Series:
    """Split rows by a hash of their identity alone: a row keeps its side when others are added.

    :return: ``"train"`` or ``"holdout"`` for each
    """
    return ids.map(_position).lt(holdout_share).map({True: "holdout", False: "train"})


def select_training(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that a model may learn from: not held out, and with a target."""
    return table[(table[SPLIT] == "train") & table[problem.target.name].notna()]


def select_holdout(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that a model is judged by: held out, and with a target."""
    return table[(table[SPLIT] == "holdout") & table[problem.target.name].notna()]


def remove_known(rows: pd.DataFrame, known: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows whose inputs are not in `known`, each once; an id may be another one in another file."""
    digests = hash_inputs(rows, problem)
    new = ~digests.isin(hash_inputs(known, problem)) & ~digests.duplicated()
    return rows[new.to_numpy()]


def hash_inputs(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return a hash of each row's inputs; numbers count with seven digits, which survive any text file."""
    numbers = rows[problem.numbers].astype("float32").astype(float) + 0.0  # -0.0 is 0.0
    texts = rows[problem.categories].astype(object).where(rows[problem.categories].notna(), "")
    return pd.util.hash_pandas_object(pd.concat([numbers, texts], axis="columns"), index=False)


def hash_table(table: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's content: columns, types and values in their order."""
    header = repr([(name, str(dtype)) for name, dtype in table.dtypes.items()]).encode()
    return sha256(header + table.to_csv(index=False).encode()).hexdigest()


def _position(identity: str) -> float:
    """Place a row evenly in [0, 1)."""
    return int.from_bytes(sha256(identity.encode()).digest()[:8]) / 2**64


def _read_parquet(content: bytes, name: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(BytesIO(content))
    except Exception as error:  # pyarrow raises several kinds for broken files
        raise TableError(f"{name} is not a Parquet file: {error}") from error
    named = [level for level, label in enumerate(table.index.names) if label is not None and label not in table]
    return table.reset_index(named).reset_index(drop=True)


def _read_csv(content: bytes, name: str) -> pd.DataFrame:
    try:
        text = content.decode("utf-8-sig")
        header = _check_shape(text, name)
        # Not header=None with skiprows=1, which would read the header as a row after an empty line.
        return pd.read_csv(StringIO(text), dtype=str, keep_default_na=False, index_col=False).set_axis(header, axis=1)
    except pd.errors.EmptyDataError:
        raise TableError(f"{name} has no rows: add some below the header") from None
    except (pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{name} is not a table of comma-separated values in UTF-8: {error}") from error


def _check_shape(text: str, name: str) -> list[str]:
    """Return the header; reject rows with more or fewer cells, which pandas would shift or fill without a warning."""
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    header = next((cells for cells in rows if cells), [])
    if not header:
        raise TableError(f"{name} is empty: write a header and rows")
    if len(header) == 1 and any(separator in header[0] for separator in ";\t|"):
        raise TableError(f"{name} separates its cells by something else than commas: save it with commas")
    for cells in rows:
        if cells and len(cells) != len(header):
            raise TableError(f"{name}, row {rows.line_num}: {len(cells)} cells under a header of {len(header)}")
    return header
