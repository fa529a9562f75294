"""Read a model's input: a value at once, a table in chunks with the types and index of the whole table."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

BUFFER = 1 << 20  # bytes; unbuffered, all pages of a column in a row group are read at once
GZIP, UTF16 = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")  # how such files begin


class Chunk(NamedTuple):
    """Input of one prediction: rows of a table, or a value."""

    data: Any
    first: int = 0  # position of the first row in the table
    total: int | None = None  # rows of the whole table; None for a value

    @property
    def rows(self) -> str:
        """Which rows these are, for messages."""
        return f"rows {self.first} to {self.first + len(self.data) - 1} of {self.total}"

    @property
    def is_part(self) -> bool:
        """Whether the table has other rows."""
        return self.total is not None and self.total > len(self.data)


def read_chunks(path: Path, size: int | None, text: Iterable[str] = ()) -> Iterator[Chunk]:
    """Yield a value, or a table in chunks of ``size`` rows (None for all); the columns ``text`` of a CSV as text."""
    if path.suffix == ".parquet":
        return read_parquet(path, size)
    if ".csv" in path.suffixes:
        return read_csv(path, size, text)
    return iter([Chunk(read_value(path))])


def read_value(path: Path) -> Any:
    """Return a frame, a series, an array, or any other pickled value."""
    import numpy as np

    if path.suffix == ".npy":
        return np.load(path)
    data = pickle.loads(path.read_bytes())  # noqa: S301 # written by the task that started this process
    return build(data) if path.suffix == ".cells" else data


def build(parts: dict[str, Any]) -> Any:
    """Rebuild a frame or series from its cells, types, names and index."""
    import pandas as pd

    levels = [_with_type(pd.Index, cells, kind).rename(name) for cells, kind, name in parts["index"]]
    index = levels[0] if len(levels) == 1 else pd.MultiIndex.from_arrays(levels)
    columns = [_with_type(pd.Series, cells, kind).set_axis(index) for cells, kind in parts["columns"]]
    if parts["is_series"]:
        return columns[0].rename(parts["names"][0])
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    frame.columns = pd.Index(parts["names"])
    return frame


def _with_type(make: Any, cells: Any, kind: Any) -> Any:
    """Return a series or an index; the type of a categorical is its categories and whether they are ordered."""
    import pandas as pd

    if isinstance(cells, range):
        return make(cells)
    return make(cells, dtype=kind if isinstance(kind, str) else pd.CategoricalDtype(*kind))


def read_csv(path: Path, size: int | None, text: Iterable[str] = ()) -> Iterator[Chunk]:
    """Yield the rows of a file; without a signature, all are read at once to infer the types."""
    import pandas as pd

    options: dict[str, Any] = {**_format(path), "low_memory": False}
    try:
        known = set(text) & set(pd.read_csv(path, nrows=0, **options).columns)
        options["dtype"] = dict.fromkeys(known, "str")
        if size and known:
            with pd.read_csv(path, usecols=[0], index_col=False, chunksize=size, **options) as reader:
                total = sum(map(len, reader))
            frames: Iterable[pd.DataFrame] = pd.read_csv(path, chunksize=size, **options)
        else:
            table = pd.read_csv(path, **options)
            total = len(table)
            frames = (table.iloc[row : row + (size or total)] for row in range(0, total or 1, size or total or 1))
        first = 0
        for frame in frames:
            yield Chunk(frame, first, total)
            first += len(frame)
    except UnicodeDecodeError as error:
        raise ValueError(f"the CSV file is not UTF-8 ({error}): save it as UTF-8") from error


def _format(path: Path) -> dict[str, Any]:
    """Return compression and encoding by the first bytes of a file, because its name may be wrong."""
    import gzip

    with path.open("rb") as file:
        is_packed = file.read(2) == GZIP
    with gzip.open(path) if is_packed else path.open("rb") as file:
        start = file.read(2)
    return {"compression": "gzip" if is_packed else None, "encoding": "utf-16" if start in UTF16 else "utf-8"}


def read_parquet(path: Path, size: int | None) -> Iterator[Chunk]:
    """Yield the rows of a file; a chunk may span several row groups."""
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
        total = file.metadata.num_rows
        if size is None or total <= size:
            yield Chunk(pd.read_parquet(path), 0, total)
            return
        gaps, first = _columns_with_gaps(file.metadata), 0
        for table in _tables_of(file, size):
            yield Chunk(_as_part(table, first, total, gaps), first, total)
            first += len(table)


def _tables_of(file: pq.ParquetFile, size: int) -> Iterator[pa.Table]:
    """Yield the rows of a file in tables of at most ``size`` rows."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for batch in file.iter_batches(batch_size=size):
        # Where a column has categories, a batch ends with its row group, however small that is.
        if sum(map(len, waiting)) + len(batch) > size:
            yield pa.Table.from_batches(waiting)
            waiting = []
        waiting.append(batch)
    yield pa.Table.from_batches(waiting)


def _columns_with_gaps(metadata: pq.FileMetaData) -> set[str]:
    """Return the columns with missing values, or without statistics about them."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    return {
        column.path_in_schema
        for column in columns
        if not ((known := column.statistics) and known.has_null_count and known.null_count == 0)
    }


def _as_part(table: pa.Table, first: int, total: int, gaps: set[str]) -> pd.DataFrame:
    """Return rows of a table as a frame with the types and index that they have in the whole table."""
    import pyarrow as pa

    # pyarrow picks a type by whether a value is missing: add a row in which one is, and drop it again.
    row = table.slice(0, 1)
    for position, field in enumerate(table.schema):
        if field.name in gaps:
            row = row.set_column(position, field, pa.nulls(1, field.type))
    longer = pa.concat_tables([table, row])
    frame = longer.replace_schema_metadata(_numbered_on(table.schema, first, len(longer), total)).to_pandas()
    if not (table.schema.pandas_metadata or {}).get("index_columns"):
        frame.index += first
    return frame.iloc[:-1]


def _numbered_on(schema: pa.Schema, first: int, count: int, total: int) -> dict[bytes, bytes]:
    """Return the metadata of a table with a RangeIndex cut to these rows."""
    metadata = schema.pandas_metadata
    for index in (metadata or {}).get("index_columns", []):
        if isinstance(index, dict):
            if len(range(index["start"], index["stop"], index["step"])) != total:  # pandas numbers them itself
                index.update(start=0, step=1, name=None)
            index["start"] += first * index["step"]
            index["stop"] = index["start"] + count * index["step"]
    return {**(schema.metadata or {}), b"pandas": json.dumps(metadata).encode()} if metadata else {}
