"""How a table gets to the process of a model."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import MLflowError
from ..objects import fetch

TABLES = (".parquet", ".csv")


def table_suffix(uri: str) -> str:
    """Return the kind of table that a URI names: ``.parquet`` or ``.csv``.

    :raises MLflowError: it is neither
    """
    suffix = PurePosixPath(urlsplit(uri).path).suffix.lower()
    if suffix not in TABLES:
        raise MLflowError(f"{uri!r} names no table: the URI must end in {' or '.join(TABLES)}")
    return suffix


def stage_input(data: Any, folder: Path, aws_conn_id: str | None) -> Path:
    """Write a model's input to a file whose suffix tells its kind.

    :param data: a DataFrame or Series (travels as Parquet, index kept), an array, the URI of a Parquet or CSV
        object (copied byte by byte), or any value that can be pickled
    :param aws_conn_id: Airflow connection of an ``s3://`` URI that names none
    :return: the file
    :raises MLflowError: the object cannot be read
    """
    # The library of a frame or an array is imported already; a URI needs none.
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if isinstance(data, str):
        file = folder / f"data{table_suffix(data)}"
        fetch(data, file, aws_conn_id)
    elif pandas and isinstance(data, pandas.DataFrame):
        data.to_parquet(file := folder / "data.frame")
    elif pandas and isinstance(data, pandas.Series):
        data.to_frame(str(data.name or 0)).to_parquet(file := folder / "data.series")
    elif numpy and isinstance(data, numpy.ndarray) and data.dtype != object:
        numpy.save(file := folder / "data.npy", data, allow_pickle=False)
    else:
        (file := folder / "data.pickle").write_bytes(pickle.dumps(data))
    return file
