"""A model's result in a Parquet or CSV file, written chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chunk import Chunk

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

REMEDY = "predict the whole table at once with chunk_size=None"


def write(results: Iterable[tuple[Chunk, Any]], path: Path) -> None:
    """Write what a model made of each chunk to one table.

    :param path: of the Parquet or CSV file
    :raises ValueError: the results of the chunks do not make one table
    """
    writer = write_parquet if path.suffix == ".parquet" else write_csv
    writer(as_frames(results), path)


def as_frames(results: Iterable[tuple[Chunk, Any]]) -> Iterator[tuple[Chunk, pd.DataFrame]]:
    """Yield each chunk with its result as a table that has the chunk's index."""
    import pandas as pd

    for chunk, result in results:
        is_table = isinstance(chunk.data, (pd.DataFrame, pd.Series))
        frame = as_frame(result, chunk.data.index if is_table else None)
        if chunk.is_part and len(frame) != len(chunk.data) and isinstance(frame.index, pd.RangeIndex):
            raise ValueError(f"{chunk.rows}: the model made {len(frame)} of {len(chunk.data)} rows: {REMEDY}")
        yield chunk, frame


def as_frame(result: Any, index: pd.Index | None) -> pd.DataFrame:
    """Return a result as a table: the model's own columns or ``prediction``, and the index if it is as long."""
    import numpy as np
    import pandas as pd

    if isinstance(result, pd.DataFrame):
        frame = result
    else:
        values = np.asarray(result)
        values = values.reshape(len(values), int(np.prod(values.shape[1:])))
        width = values.shape[1]
        names = ["prediction"] if width == 1 else [f"prediction_{i}" for i in range(width)]
        frame = pd.DataFrame(values, columns=names)
    if index is not None and len(index) == len(frame):
        frame = frame.set_axis(index, axis=0)
    return frame


def write_csv(frames: Iterable[tuple[Chunk, pd.DataFrame]], path: Path) -> None:
    """Write tables below each other; an index that only counts the rows gets no column."""
    import pandas as pd

    header = None
    with path.open("w", encoding="utf-8", newline="") as file:
        for chunk, frame in frames:
            counts = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
            names = [*([] if counts else frame.index.names), *frame.columns]
            check_names(names, header or names, chunk)
            frame.to_csv(file, index=not counts, header=header is None)
            header = names


def write_parquet(frames: Iterable[tuple[Chunk, pd.DataFrame]], path: Path) -> None:
    """Write tables below each other, in the types of the first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer = None
        for chunk, frame in frames:
            # A level of an index that counts in one chunk need not do so in the next.
            table = pa.Table.from_pandas(frame, preserve_index=frame.index.nlevels > 1 or None)
            if writer is None:
                schema = schema_of_whole(table.schema, chunk)
                writer = stack.enter_context(pq.ParquetWriter(path, schema))
            check_names(table.schema.names, schema.names, chunk)
            check_types(table.schema, schema, chunk)
            writer.write_table(table.cast(schema))


def schema_of_whole(schema: pa.Schema, chunk: Chunk) -> pa.Schema:
    """Return the schema of a chunk with an index that counts the rows of the whole table."""
    if not chunk.is_part:
        return schema
    metadata = schema.pandas_metadata
    for index in metadata["index_columns"]:
        if isinstance(index, dict):
            index["stop"] = index["start"] + index["step"] * (chunk.total or 0)
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(metadata)})


def check_names(found: list[Any], wanted: list[Any], chunk: Chunk) -> None:
    """Refuse columns other than those of the first chunk."""
    if found != wanted:
        raise ValueError(f"{chunk.rows}: the result has columns {found}, that of the first rows {wanted}: {REMEDY}")


def check_types(found: pa.Schema, wanted: pa.Schema, chunk: Chunk) -> None:
    """Refuse types that cannot become those of the first chunk without loss."""
    from pyarrow.types import is_floating, is_integer, is_null

    for position, name in enumerate(wanted.names):
        kind, first = found.field(position).type, wanted.field(position).type
        if kind != first and not is_null(kind) and not (is_integer(kind) and is_floating(first)):
            raise ValueError(f"{chunk.rows}: column {name!r} is {kind}, in the first rows {first}: {REMEDY}")
