"""Conversion of arguments and responses: text, numbers, tags, lists of objects."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..exceptions import MLflowError

INT64 = range(-(2**63), 2**63)
# Aliases that MLflow accepts; it reserves "latest" and "v3".
_ALIAS = re.compile(r"(?!(?i:latest|v\d+)$)[\w-]{1,255}")


def check_alias(alias: Any) -> str:
    """Return an alias as text; an :class:`MLflowError` if MLflow would refuse it."""
    alias = as_text("the alias", alias)
    if not _ALIAS.fullmatch(alias):
        raise MLflowError(
            f"{alias!r} cannot be an alias: use letters, digits, _ and -, but neither 'latest' nor a form like 'v3'"
        )
    return alias


def records(found: Any) -> list[dict[str, Any]]:
    """Return the objects of a list in a response; an empty list for anything else."""
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def as_text(what: str, value: Any) -> str:
    """Return a name, id or number as text; an :class:`MLflowError` that names ``what`` it is if it cannot be."""
    if value is None or value == "" or isinstance(value, bytes | Mapping | list | tuple | set):
        raise MLflowError(f"{what} is {value!r}: give a text or a number")
    return str(value)


def as_optional_text(value: Any) -> str | None:
    """Return a value as text, and None as it is."""
    return None if value is None else str(value)


def as_list(what: str, values: Any) -> list[Any]:
    """Return the values of an iterable that is not a text or a mapping."""
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise MLflowError(f"{what} is {values!r}: give a list")
    return list(values)


def as_texts(what: str, values: Any) -> list[str]:
    """Return a list of texts; a single text or number is a list of one."""
    values = [values] if isinstance(values, str | int) else as_list(what, values)
    return [as_text(f"an item of {what}", value) for value in values]


def as_tag(key: Any, value: Any) -> dict[str, str]:
    """Return a tag as MLflow's REST API takes it."""
    return {"key": as_text("the key of a tag", key), "value": str(value)}


def as_tags(tags: Any, what: str = "tags") -> list[dict[str, str]]:
    """Return the tags of a mapping, or of a list of tags, as MLflow's REST API takes them."""
    if isinstance(tags, Mapping):
        return [as_tag(key, value) for key, value in tags.items()]
    items: list[Any] = [tags] if isinstance(tags, str | bytes) else list(tags or ())
    if not all(isinstance(item, Mapping) and {"key", "value"} <= set(item) for item in items):
        raise MLflowError(f"{what} is {tags!r}: give {{key: value}} or [{{'key': key, 'value': value}}]")
    return [as_tag(item["key"], item["value"]) for item in items]


def as_metric(metric: Any, now: int) -> dict[str, Any]:
    """Return a metric with all its fields; its timestamp is ``now``, in ms since 1970, by default."""
    if not isinstance(metric, Mapping) or not {"key", "value"} <= set(metric):
        raise MLflowError(f"{metric!r} is not a metric: give {{'key': 'rmse', 'value': 1.26}}, optionally with 'step'")
    key = as_text("the key of a metric", metric["key"])
    step = as_whole_number(f"step of metric {key!r}", metric.get("step") or 0)
    timestamp = as_whole_number(f"timestamp of metric {key!r}", metric.get("timestamp") or 0)
    return {"key": key, "value": _number(key, metric["value"]), "step": step, "timestamp": timestamp or now}


def as_whole_number(what: str, value: Any) -> int:
    """Return a 64-bit integer, also from text."""
    with suppress(TypeError, ValueError, OverflowError):
        number = int(value)
        if number in INT64 and (isinstance(value, str) or number == value):
            return number
    unit = ", in ms since 1970" if "time" in what else ""
    raise MLflowError(f"{what} is {value!r}: give a whole number{unit}")


def _number(key: str, value: Any) -> float | str:
    """Return a number, or the text that protobuf's JSON has for one that is not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise MLflowError(f"metric {key!r} has the value {value!r}: give a number") from None
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
