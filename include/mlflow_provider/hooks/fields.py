"""Arguments of the hooks in the form that MLflow's REST API wants."""

from __future__ import annotations

from typing import Any

Tags = dict[str, str] | list[dict[str, str]]


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value, for those that the server fills in or leaves alone otherwise."""
    return {name: value for name, value in fields.items() if value}


def tag_list(tags: Tags | None) -> list[dict[str, str]] | None:
    """Return tags as ``[{"key": key, "value": value}]``, from that form or from ``{key: value}``."""
    if isinstance(tags, dict):
        return [{"key": key, "value": value} for key, value in tags.items()]
    return tags
