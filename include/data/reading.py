"""Reading a table from the content of a file."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO

import pandas as pd
import pyarrow.parquet as pq

MAX_CELLS = 50_000_000  # of a Parquet file, whose few bytes may be a table of any size


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


def _read_parquet(content: bytes, name: str) -> pd.DataFrame:
    try:
        file = pq.ParquetFile(BytesIO(content))
        cells = file.metadata.num_rows * file.metadata.num_columns
        table = _to_frame(file) if cells <= MAX_CELLS else pd.DataFrame()
    except Exception as error:  # pyarrow raises several kinds for broken files
        raise TableError(f"{name} is not a Parquet file: {error}") from error
    if cells > MAX_CELLS:
        raise TableError(f"{name} has {cells:,} cells, {MAX_CELLS:,} is the limit: split the file")
    named = [level for level, label in enumerate(table.index.names) if label is not None and label not in table]
    return table.reset_index(named).reset_index(drop=True)


def _to_frame(file: pq.ParquetFile) -> pd.DataFrame:
    table = file.read()
    table.validate(full=True)  # a text that is not UTF-8 would fail much later
    return table.to_pandas()


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
        raise TableError(f"{name} is not separated by commas: save it with commas")
    for cells in rows:
        if cells and len(cells) != len(header):
            raise TableError(f"{name}, row {rows.line_num}: {len(cells)} cells under a header of {len(header)}")
    return header
