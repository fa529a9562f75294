"""A model's result as plain values."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any

from .inputs import Chunk

REMEDY = "name a Parquet or CSV object in output_uri"
WHOLE = "predict the whole table at once with chunk_size=None"


def collect(results: Iterable[tuple[Chunk, Any]], limit: int | None) -> Any:
    """Return what a model made of all chunks as JSON can hold it.

    :param limit: bytes of JSON that it may have, or None for any number
    :raises ValueError: it has more, or holds what JSON cannot; results of several chunks cannot be put together
    """
    parts, size = [], 0
    for chunk, result in results:
        check_rows(chunk, result)
        parts.append(result)
        if limit is None:
            continue
        size += len(json.dumps(plain(result)))
        if size > limit:
            too_big = f"the result has more bytes of JSON than the {limit} that a task may return"
            raise ValueError(f"{too_big}: {REMEDY}, or raise return_limit")
    return plain(joined(parts))


def check_rows(chunk: Chunk, result: Any) -> None:
    """Refuse what a model made of some rows if it is not row by row: of the whole table it might say another thing.

    A table whose index names its rows may lack some.
    """
    if not chunk.is_part:
        return
    names_rows = hasattr(result, "index") and hasattr(result, "iloc") and not _counts(result)
    lengths = {length_of(part) for part in (result.values() if isinstance(result, dict) else [result])}
    if not names_rows and lengths != {len(chunk.data)}:
        made = " or ".join(sorted("a value" if length is None else str(length) for length in lengths))
        raise ValueError(f"{chunk.rows}: the model made {made} of {len(chunk.data)} rows: {WHOLE}")


def length_of(value: Any) -> int | None:
    """Return how many rows a list, an array or a table has; None for another value."""
    if getattr(value, "shape", ()):
        return value.shape[0]
    return len(value) if isinstance(value, (list, tuple)) else None


def joined(parts: list[Any]) -> Any:
    """Put the results of chunks together, as the model would have returned them for the whole table."""
    import numpy as np
    import pandas as pd

    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    if all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        return {key: joined([part[key] for part in parts]) for key in parts[0]}
    if all(isinstance(part, np.ndarray) and part.ndim for part in parts):
        return np.concatenate(parts)
    if all(isinstance(part, (pd.DataFrame, pd.Series)) for part in parts):
        return pd.concat(parts, ignore_index=all(map(_counts, parts)))
    kinds = ", ".join(sorted({type(part).__name__ for part in parts}))
    raise TypeError(f"results of several chunks ({kinds}) cannot be put together: predict in one with chunk_size=None")


def plain(value: Any, where: str = "") -> Any:
    """Return a value as JSON can hold it, with every digit: frames and series as the JSON text of pandas' kind.

    :param where: what leads to the value inside the result, for messages
    :raises ValueError: JSON has no such number
    :raises TypeError: JSON has nothing for it, or two keys become the same
    """
    import numpy as np
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT or isinstance(value, (bool, np.bool_)):
        return bool(value) if isinstance(value, np.bool_) else value if isinstance(value, bool) else None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _finite(float(value), where)
    if isinstance(value, dict):
        return _with_text_keys(
            {_key(key, where): plain(item, f"{where}[{key!r}]") for key, item in value.items()}, value
        )
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return json.dumps(_cells(value, where), separators=(",", ":"))
    return _plain_array(value, where)


def _plain_array(value: Any, where: str) -> Any:
    import numpy as np
    import pandas as pd

    if hasattr(value, "toarray"):
        value = value.toarray()  # a sparse matrix
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in "mM" and kind:
        flat = [None if pd.isna(item) else item.isoformat() for item in pd.Series(np.ravel(value)).astype(object)]
        texts = np.empty(len(flat), object)
        texts[:] = flat
        return texts.reshape(np.shape(value)).tolist() if np.ndim(value) else flat[0]
    if hasattr(value, "tolist") and kind not in ("V", "c"):
        return plain(value.tolist(), where)
    return _plain_object(value, where)


def _plain_object(value: Any, where: str) -> Any:
    from decimal import Decimal

    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(), where)
    raise TypeError(f"the result holds a {type(value).__name__}{_at(where)}, and a task returns JSON alone: {REMEDY}")


def _cells(table: Any, where: str) -> Any:
    """Return a frame as ``{column: {index: cell}}``, a series as ``{index: cell}``; a missing number is null."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        names = list(table.columns)
        columns = {
            _key(name, where): _cells(table.iloc[:, position], f"{where}[{name!r}]")
            for position, name in enumerate(names)
        }
        return _with_text_keys(columns, names)
    cells = dict(enumerate(table.astype(object).tolist()))
    index = table.index.tolist()
    found = {
        _key(index[row], where): None if _is_nan(cell) else plain(cell, f"{where}[{index[row]!r}]")
        for row, cell in cells.items()
    }
    return _with_text_keys(found, cells)


def _with_text_keys(found: dict, original: Any) -> dict:
    if len({str(key) for key in found}) < len(original):
        raise TypeError(f"two keys, columns or index values of the result are the same in JSON: {REMEDY}")
    return found


def _key(key: Any, where: str) -> Any:
    return str(key) if isinstance(key, tuple) else plain(key, where)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _finite(number: float, where: str) -> float:
    if not math.isfinite(number):
        raise ValueError(f"the result holds {number}{_at(where)}, for which JSON has no number: {REMEDY}")
    return number


def _at(where: str) -> str:
    return f" at {where}" if where else ""


def _counts(table: Any) -> bool:
    import pandas as pd

    return isinstance(table.index, pd.RangeIndex) or table.index.equals(pd.RangeIndex(len(table)))
