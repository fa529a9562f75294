"""A model's result in a Parquet or CSV file, written chunk by chunk."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .inputs import Chunk
from .results import WHOLE, check_rows, length_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def write(results: Iterable[tuple[Chunk, Any]], path: Path) -> None:
    """Write what a model made of each chunk to one table.

    :param path: of the Parquet or CSV file
    :raises ValueError: a result cannot become a table, or the chunks' results do not fit together
    """
    writer = write_parquet if path.suffix == ".parquet" else write_csv
    writer(as_frames(results), path)


def as_frames(results: Iterable[tuple[Chunk, Any]]) -> Iterator[tuple[Chunk, pd.DataFrame]]:
    """Yield each chunk with its result as a table that has the chunk's index."""
    import pandas as pd

    for chunk, result in results:
        check_rows(chunk, result)
        is_table = isinstance(chunk.data, (pd.DataFrame, pd.Series))
        yield chunk, as_frame(result, chunk.data.index if is_table else None)


def as_frame(result: Any, index: pd.Index | None) -> pd.DataFrame:
    """Return a result as a table: the model's own columns or ``prediction``, and the index if it is as long.

    :raises ValueError: it has no rows
    """
    import pandas as pd

    frame = result if isinstance(result, pd.DataFrame) else _frame_of(result)
    if index is not None and len(index) == len(frame):
        frame = frame.set_axis(index, axis=0)
    return frame


def _frame_of(result: Any) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    if hasattr(result, "toarray"):
        result = result.toarray()  # a sparse matrix
    lengths = {length_of(part) for part in result.values()} if isinstance(result, dict) else set()
    if len(lengths) == 1 and None not in lengths:
        return pd.DataFrame({key: _column(part) for key, part in result.items()})
    if isinstance(result, (list, tuple)):
        if result and all(isinstance(item, dict) for item in result):
            return pd.DataFrame(list(result))
        widths = {len(item) if isinstance(item, (list, tuple)) else np.shape(item) for item in result}
        if not result or len(widths) > 1 or widths == {()}:
            return pd.DataFrame({"prediction": _column(result)})
        result = np.array(list(result))
    if isinstance(result, dict) or not np.ndim(result):
        raise ValueError(f"no table can be made of the result, a {type(result).__name__}: leave out output_uri")
    if isinstance(result, pd.Series):
        return result.to_frame("prediction")
    values = np.asarray(result)
    values = values.reshape(len(values), int(np.prod(values.shape[1:])))
    width = values.shape[1]
    return pd.DataFrame(values, columns=["prediction"] if width == 1 else [f"prediction_{i}" for i in range(width)])


def _column(values: Any) -> pd.Series:
    import pandas as pd

    return values if isinstance(values, pd.Series) else pd.Series(list(values), dtype=None if len(values) else object)


def write_csv(frames: Iterable[tuple[Chunk, pd.DataFrame]], path: Path) -> None:
    """Write tables below each other; an index that only counts the rows gets no column."""
    import pandas as pd

    header = None
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        for chunk, frame in frames:
            counts = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
            names = [*([] if counts else frame.index.names), *frame.columns]
            _check_names(names, header or names, chunk)
            frame.to_csv(file, index=not counts, header=header is None)
            header = names


def write_parquet(frames: Iterable[tuple[Chunk, pd.DataFrame]], path: Path) -> None:
    """Write tables below each other, in types that hold the values of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for chunk, frame in frames:
            table = _as_arrow(frame, chunk)
            if writer is None:
                schema = _schema_of_whole(table.schema, chunk)
                writer = pq.ParquetWriter(path, schema)
            _check_names(table.schema.names, schema.names, chunk)
            if (wider := _wider(schema, table.schema, chunk)) != schema:
                writer.close()
                schema, writer = wider, _rewritten(path, wider)
            try:
                writer.write_table(table.cast(schema))
            except pa.ArrowException as error:
                raise ValueError(f"{chunk.rows}: {error}: {WHOLE}") from error
    finally:
        if writer:
            writer.close()


def _as_arrow(frame: pd.DataFrame, chunk: Chunk) -> pa.Table:
    import pyarrow as pa

    try:
        # A level of an index that counts in one chunk need not do so in the next.
        return pa.Table.from_pandas(frame, preserve_index=frame.index.nlevels > 1 or None)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = " ".join(map(str, error.args))
        raise ValueError(f"Parquet cannot hold the result ({reason}): name a CSV object in output_uri") from error


def _wider(schema: pa.Schema, other: pa.Schema, chunk: Chunk) -> pa.Schema:
    """Return types that hold the values of both: floats for integers and floats, anything for nothing."""
    import pyarrow as pa

    fields = []
    for position, name in enumerate(schema.names):
        known, new = schema.field(position), other.field(position)
        try:
            columns = [pa.schema([("x", known.type)]), pa.schema([("x", new.type)])]
            fields.append(known.with_type(pa.unify_schemas(columns, promote_options="permissive").field(0).type))
        except (pa.ArrowException, TypeError):  # the second where pyarrow is too old to know this option
            problem = f"column {name!r} is {new.type}, in the rows before {known.type}"
            raise ValueError(f"{chunk.rows}: {problem}: {WHOLE}") from None
    return pa.schema(fields, schema.metadata)


def _rewritten(path: Path, schema: pa.Schema) -> Any:
    """Write the rows of a file again in other types; return the writer for those that follow."""
    import pyarrow.parquet as pq

    before = path.rename(path.with_suffix(".before"))
    writer = pq.ParquetWriter(path, schema)
    with pq.ParquetFile(before) as file:
        for group in range(file.num_row_groups):
            writer.write_table(file.read_row_group(group).cast(schema))
    before.unlink()
    return writer


def _schema_of_whole(schema: pa.Schema, chunk: Chunk) -> pa.Schema:
    """Return the schema of a chunk with an index that counts the rows of the whole table."""
    if not chunk.is_part:
        return schema
    metadata = schema.pandas_metadata
    for index in metadata["index_columns"]:
        if isinstance(index, dict):
            index["stop"] = index["start"] + index["step"] * (chunk.total or 0)
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(metadata)})


def _check_names(found: list[Any], wanted: list[Any], chunk: Chunk) -> None:
    """Refuse columns other than those of the first chunk."""
    if found != wanted:
        raise ValueError(f"{chunk.rows}: the result has columns {found}, that of the first rows {wanted}: {WHOLE}")
