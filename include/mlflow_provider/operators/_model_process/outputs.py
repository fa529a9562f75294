"""A model's result in a Parquet or CSV file, written chunk by chunk."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .inputs import Chunk

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


WHOLE = "predict the whole table at once with chunk_size=None"


def write(results: Iterable[tuple[Chunk, Any]], path: Path) -> None:
    """Write the results of all chunks to one Parquet or CSV file."""
    writer = write_parquet if path.suffix == ".parquet" else write_csv
    writer(((chunk, as_frame(result, chunk)) for chunk, result in results), path)


def as_frame(result: Any, chunk: Chunk) -> pd.DataFrame:
    """Return a result as a table: the model's columns or ``prediction``, and the chunk's index if it is as long."""
    import pandas as pd

    check_rows(chunk, result)
    frame = result if isinstance(result, pd.DataFrame) else _frame_of(result)
    has_index = hasattr(chunk.data, "iloc") and len(chunk.data) == len(frame)
    return frame.set_axis(chunk.data.index, axis=0) if has_index else frame


def check_rows(chunk: Chunk, result: Any) -> None:
    """Refuse a result that is not row by row, which may depend on other chunks; an indexed table may lack rows."""
    if not chunk.is_part:
        return
    import pandas as pd

    index = result.index if hasattr(result, "iloc") else None
    counts = isinstance(index, pd.RangeIndex) or (index is not None and index.equals(pd.RangeIndex(len(index))))
    lengths = {length_of(part) for part in (result.values() if isinstance(result, dict) else [result])}
    if (index is None or counts) and lengths != {len(chunk.data)}:
        made = " or ".join(sorted("a value" if length is None else str(length) for length in lengths))
        raise ValueError(f"{chunk.rows}: the model made {made} of {len(chunk.data)} rows: {WHOLE}")


def length_of(value: Any) -> int | None:
    """Return the number of rows of a list, an array or a table; None for another value."""
    if getattr(value, "shape", ()):
        return value.shape[0]
    return len(value) if isinstance(value, (list, tuple)) else None


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
    """Write tables to one file; an index that only counts the rows gets no column."""
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
    """Write tables to one file, in types that hold the values of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts: list[tuple[str, Path]] = []
    schema = None
    for chunk, frame in frames:
        table = _as_arrow(frame, chunk)
        schema = _wider(schema, table.schema, chunk) if parts else _schema_of_whole(table.schema, chunk)
        pq.write_table(table, part := path.with_suffix(f".{len(parts)}"))
        parts.append((chunk.rows if chunk.is_part else "", part))
    with pq.ParquetWriter(path, schema) as writer:
        for rows, part in parts:
            try:
                writer.write_table(pq.read_table(part).cast(schema))
            except pa.ArrowException as error:
                raise ValueError(f"{rows}: {error}: {WHOLE}") from error
            part.unlink()


def _as_arrow(frame: pd.DataFrame, chunk: Chunk) -> pa.Table:
    import pyarrow as pa

    try:
        # A level of an index that counts rows in one chunk may not in the next.
        return pa.Table.from_pandas(frame, preserve_index=frame.index.nlevels > 1 or None)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = " ".join(map(str, error.args))
        raise ValueError(f"Parquet cannot hold the result ({reason}): name a CSV object in output_uri") from error


def _wider(schema: pa.Schema, other: pa.Schema, chunk: Chunk) -> pa.Schema:
    """Return types that hold the values of both, such as floats for integers and floats."""
    import pyarrow as pa

    _check_names(other.names, schema.names, chunk)
    try:
        return pa.unify_schemas([schema, other], promote_options="permissive").with_metadata(schema.metadata)
    except (pa.ArrowException, TypeError) as error:  # the second where pyarrow is too old to know this option
        raise ValueError(f"{chunk.rows}: {error}: {WHOLE}") from None


def _schema_of_whole(schema: pa.Schema, chunk: Chunk) -> pa.Schema:
    """Return the schema of a chunk with a RangeIndex of the whole table."""
    if not chunk.is_part:
        return schema
    metadata = schema.pandas_metadata
    for index in metadata["index_columns"]:
        if isinstance(index, dict):
            index["stop"] = index["start"] + index["step"] * (chunk.total or 0)
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(metadata)})


def _check_names(found: list[Any], wanted: list[Any], chunk: Chunk) -> None:
    """Refuse other columns than those of the first chunk."""
    if found != wanted:
        raise ValueError(f"{chunk.rows}: the result has columns {found}, that of the first rows {wanted}: {WHOLE}")
