"""A Parquet table in chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .chunk import Chunk

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

BUFFER = 1 << 20  # bytes; unbuffered, all pages of a column in a row group are read at once


def read_parquet(path: Path, size: int | None) -> Iterator[Chunk]:
    """Yield the rows of a file, whatever the size of its row groups.

    :param size: rows of a chunk; None for the whole table in one
    """
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
        total = file.metadata.num_rows
        if size is None or total <= size:
            yield Chunk(pd.read_parquet(path), 0, total)
            return
        gaps, first = columns_with_gaps(file.metadata), 0
        for table in tables_of(file, size):
            yield Chunk(as_part(table, first, total, gaps), first, total)
            first += len(table)


def tables_of(file: pq.ParquetFile, size: int) -> Iterator[pa.Table]:
    """Yield the rows of a file, as many at once as there may be."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for batch in file.iter_batches(batch_size=size):
        # Where a column has categories, a batch ends with its row group, however small that is.
        if sum(map(len, waiting)) + len(batch) > size:
            yield pa.Table.from_batches(waiting)
            waiting = []
        waiting.append(batch)
    yield pa.Table.from_batches(waiting)


def columns_with_gaps(metadata: pq.FileMetaData) -> set[str]:
    """Name the columns that miss a value, or may do so for all that the file says of itself."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    return {column.path_in_schema for column in columns if not _is_full(column)}


def as_part(table: pa.Table, first: int, total: int, gaps: set[str]) -> pd.DataFrame:
    """Return rows of a table as a frame with the types and the part of the index that they have in the whole.

    :param first: position of the first row
    :param total: rows of the whole table
    :param gaps: the columns in which the whole table misses a value
    """
    import pyarrow as pa

    # pyarrow picks a type by whether a value is missing: here one always is, in a row that goes again.
    row = table.slice(0, 1)
    for position, field in enumerate(table.schema):
        if field.name in gaps:
            row = row.set_column(position, field, pa.nulls(1, field.type))
    longer = pa.concat_tables([table, row])
    frame = longer.replace_schema_metadata(numbered_on(table.schema, first, len(longer), total)).to_pandas()
    if not (table.schema.pandas_metadata or {}).get("index_columns"):
        frame.index += first
    return frame.iloc[:-1]


def numbered_on(schema: pa.Schema, first: int, count: int, total: int) -> dict[bytes, bytes]:
    """Return the metadata of a table with, for an index that counts the rows, the numbers of some of them."""
    metadata = schema.pandas_metadata
    for index in (metadata or {}).get("index_columns", []):
        if isinstance(index, dict):
            if len(range(index["start"], index["stop"], index["step"])) != total:  # pandas numbers them itself
                index.update(start=0, step=1, name=None)
            index["start"] += first * index["step"]
            index["stop"] = index["start"] + count * index["step"]
    return {**(schema.metadata or {}), b"pandas": json.dumps(metadata).encode()} if metadata else {}


def _is_full(column: pq.ColumnChunkMetaData) -> bool:
    statistics = column.statistics
    return bool(statistics and statistics.has_null_count and statistics.null_count == 0)
