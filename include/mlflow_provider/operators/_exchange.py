"""How a table gets to the process of a model."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import MLflowError
from ..objects import fetch

COMMON = re.compile(r"str|string|bool|boolean|[uU]?[iI]nt\d+|[fF]loat(32|64)|datetime64\[.*")  # types of columns
TABLES = (".parquet", ".csv", ".csv.gz")


def table_suffix(uri: str) -> str:
    """Return the kind of table that a URI names: ``.parquet``, ``.csv`` or ``.csv.gz``.

    :raises MLflowError: it is none of them
    """
    name = PurePosixPath(urlsplit(uri).path).name.lower()
    for suffix in reversed(TABLES):
        if name.endswith(suffix):
            return suffix
    raise MLflowError(f"{uri!r} names no table: the URI must end in {', '.join(TABLES[:-1])} or {TABLES[-1]}")


def stage_input(data: Any, folder: Path, aws_conn_id: str | None) -> Path:
    """Write a model's input to a file whose suffix tells its kind.

    :param data: a DataFrame or Series, an array, the URI or path of a Parquet or CSV object (copied byte by byte), or
        any value that can be pickled. A frame travels as Parquet, or as plain cells where Parquet would change it.
    :param aws_conn_id: Airflow connection of an ``s3://`` URI that names none
    :return: the file
    :raises MLflowError: the object cannot be read
    """
    # The library of a frame or an array is imported already; a URI needs none.
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if isinstance(data, str | PurePath) or hasattr(data, "conn_id"):
        file = folder / f"data{table_suffix(str(data))}"
        fetch(str(data), file, aws_conn_id)
    elif pandas and isinstance(data, pandas.DataFrame | pandas.Series):
        if isinstance(data, pandas.DataFrame) and _survives_parquet(data):
            data.to_parquet(file := folder / "data.frame")
        else:
            (file := folder / "data.cells").write_bytes(pickle.dumps(_take_apart(data)))
    elif numpy and isinstance(data, numpy.ndarray) and data.dtype.kind not in "OTV":
        numpy.save(file := folder / "data.npy", data, allow_pickle=False)
    else:
        (file := folder / "data.pickle").write_bytes(pickle.dumps(data))
    return file


def _survives_parquet(frame: Any) -> bool:
    """Tell whether Parquet gives a frame back as it is: numbers, text, dates and categories under different names."""
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    names = [*frame.columns, *(str(level.name) for level in levels if level.name is not None)]
    if len(set(names)) < len(names) or not all(type(name) is str for name in frame.columns):
        return False
    types = [values.dtype for values in (*(frame[name] for name in frame.columns), *levels)]
    return all(kind.categories.dtype == "str" if kind == "category" else COMMON.fullmatch(str(kind)) for kind in types)


def _take_apart(table: Any) -> dict[str, Any]:
    """Return a frame or series as plain parts, which any version of pandas can put together again."""
    is_series = table.ndim == 1
    columns = [table] if is_series else [table.iloc[:, position] for position in range(table.shape[1])]
    levels = [table.index.get_level_values(level) for level in range(table.index.nlevels)]
    return {
        "columns": [(column.astype(object).tolist(), _kind_of(column)) for column in columns],
        "index": [(_cells_of(level), _kind_of(level), level.name) for level in levels],
        "names": [table.name] if is_series else _cells_of(table.columns),
        "is_series": is_series,
    }


def _kind_of(values: Any) -> Any:
    if str(values.dtype) == "category":
        return values.dtype.categories.tolist(), bool(values.dtype.ordered)
    return str(values.dtype)


def _cells_of(index: Any) -> Any:
    """Return the values of an index; those of one that counts as a range, so that it counts again."""
    is_range = type(index).__name__ == "RangeIndex"
    return range(index.start, index.stop, index.step) if is_range else index.astype(object).tolist()
