"""A model's result as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .chunk import Chunk

REMEDY = "name a Parquet or CSV object in output_uri"


def collect(results: Iterable[tuple[Chunk, Any]], limit: int | None) -> Any:
    """Return what a model made of all chunks as lists, numbers or strings.

    :param limit: bytes of JSON that it may have, or None for any number
    :raises ValueError: it has more
    :raises TypeError: results of several chunks cannot be put together
    """
    parts, size = [], 0
    for _, result in results:
        parts.append(result)
        if limit is None:
            continue
        size += len(as_json(plain(result)))
        if size > limit:
            too_big = f"the result has more bytes of JSON than the {limit} that a task may return"
            raise ValueError(f"{too_big}: {REMEDY}, or raise return_limit")
    return plain(joined(parts))


def joined(parts: list[Any]) -> Any:
    """Put the results of chunks together, as the model would have returned them for the whole table."""
    import numpy as np
    import pandas as pd

    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    if all(isinstance(part, np.ndarray) and part.ndim for part in parts):
        return np.concatenate(parts)
    if all(isinstance(part, (pd.DataFrame, pd.Series)) for part in parts):
        counts = all(part.index.equals(pd.RangeIndex(len(part))) for part in parts)
        return pd.concat(parts, ignore_index=counts)
    kinds = ", ".join(sorted({type(part).__name__ for part in parts}))
    raise TypeError(f"results of several chunks ({kinds}) cannot be put together: predict in one with chunk_size=None")


def plain(result: Any) -> Any:
    """Return frames and series as pandas' JSON, arrays as lists, all else as it is."""
    if hasattr(result, "to_json"):
        return result.to_json()
    return result.tolist() if hasattr(result, "tolist") else result


def as_json(result: Any) -> str:
    """Return plain values as JSON, with what is inside them: arrays as lists, frames as text, dates in ISO format.

    :raises TypeError: there is something else inside
    """
    return json.dumps(result, default=_inner)


def _inner(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    found = plain(value)
    if found is value:
        raise TypeError(f"the result holds a {type(value).__name__}, and a task returns JSON alone: {REMEDY}")
    return found
