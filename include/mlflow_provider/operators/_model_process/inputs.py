"""A model's input from the file that it travelled in: a value as it is, a table in chunks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .chunk import Chunk
from .csv_input import read_csv
from .parquet_input import read_parquet


def read_chunks(path: Path, size: int | None) -> Iterator[Chunk]:
    """Yield a value in one piece, the table of a Parquet or CSV file in chunks.

    A chunk has the types and the part of the index that its rows have in the whole table: where a gap makes
    floats of a column's integers, it does so in every chunk.

    :param size: rows of a chunk; None for the whole table in one
    """
    if path.suffix == ".parquet":
        return read_parquet(path, size)
    if path.suffix == ".csv":
        return read_csv(path, size)
    return iter([Chunk(read_value(path))])


def read_value(path: Path) -> Any:
    """Return a frame, a series, an array or whatever else was pickled; a list of dicts becomes a table."""
    import numpy as np
    import pandas as pd

    if path.suffix == ".frame":
        return pd.read_parquet(path)
    if path.suffix == ".series":
        return pd.read_parquet(path).iloc[:, 0]
    if path.suffix == ".npy":
        return np.load(path)
    data = pickle.loads(path.read_bytes())  # noqa: S301 # written by the task that started this process
    if not isinstance(data, list):
        return data
    is_records = bool(data) and isinstance(data[0], dict)
    return pd.DataFrame(data) if is_records else np.array(data)
