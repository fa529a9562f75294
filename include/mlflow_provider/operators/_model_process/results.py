"""Convert a model's result to JSON values."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

REMEDY = "name a Parquet or CSV object in output_uri"


def collect(result: Any, limit: int | None) -> Any:
    """Return a model's result as JSON values, of at most ``limit`` bytes unless that is None."""
    value = plain(result)
    if limit is not None and len(json.dumps(value)) > limit:
        too_big = f"the result has more bytes of JSON than the {limit} that a task may return"
        raise ValueError(f"{too_big}: {REMEDY}, or raise return_limit")
    return value


def plain(value: Any, where: str = "") -> Any:
    """Return a value as JSON values with all digits; frames and series as JSON text in pandas' format."""
    import numpy as np
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT:
        return None
    scalars = (((bool, np.bool_), bool), (str, str), ((int, np.integer), int), ((float, np.floating), float))
    for kinds, convert in scalars:
        if isinstance(value, kinds) and not isinstance(value, np.timedelta64):
            return _finite(convert(value), where)
    if isinstance(value, dict):
        return _with_text_keys(value.keys(), value.values(), where)
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
    kind = getattr(getattr(value, "dtype", None), "kind", "V")
    if kind in "mM":
        flat = [None if pd.isna(item) else item.isoformat() for item in pd.Series(np.ravel(value)).astype(object)]
        texts = np.empty(len(flat), object)
        texts[:] = flat
        return texts.reshape(np.shape(value)).tolist() if np.ndim(value) else flat[0]
    if hasattr(value, "tolist") and kind not in "Vc":
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


def _cells(table: Any, where: str) -> dict:
    """Return a frame as ``{column: {index: cell}}``, a series as ``{index: cell}``; a missing number is null."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        columns = [table.iloc[:, position] for position in range(table.shape[1])]
        return _with_text_keys(table.columns, columns, where, _cells)
    cells = [None if isinstance(cell, float) and math.isnan(cell) else cell for cell in table.astype(object).tolist()]
    return _with_text_keys(table.index.tolist(), cells, where)


def _with_text_keys(keys: Any, values: Any, where: str, convert: Any = plain) -> dict:
    """Return a dict; refuse keys that are equal in JSON."""
    found = {
        str(key) if isinstance(key, tuple) else plain(key, where): convert(value, f"{where}[{key!r}]")
        for key, value in zip(keys, values)  # noqa: B905 # Python 3.8 has no strict=True
    }
    if len({str(key) for key in found}) < len(keys):
        raise TypeError(f"two keys, columns or index values of the result are the same in JSON: {REMEDY}")
    return found


def _finite(value: Any, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the result holds {value}{_at(where)}, for which JSON has no number: {REMEDY}")
    return value


def _at(where: str) -> str:
    return f" at {where}" if where else ""
