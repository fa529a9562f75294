"""OpenLineage events, checked against the classes that OpenLineage and its provider publish."""

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attr
from airflow.providers.openlineage.plugins.facets import (
    AirflowMappedTaskRunFacet,
    AirflowRunFacet,
    UnknownOperatorAttributeRunFacet,
)
from openlineage.client import event_v2, facet_v2

from include.services.openlineage import MLflowRunFacet

MODULES = [vars(facet_v2)[name] for name in facet_v2.__all__ if name.endswith(("_dataset", "_run", "_job"))]
PUBLISHED = {
    kind._get_schema(): kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, facet_v2.BaseFacet) and kind.__module__ == module.__name__
}
CUSTOM = {
    "airflow": AirflowRunFacet,
    "airflow_mappedTask": AirflowMappedTaskRunFacet,
    "unknownSourceAttribute": UnknownOperatorAttributeRunFacet,
    "mlflow_run": MLflowRunFacet,
}


def rebuild(event: dict[str, Any]) -> Any:
    """Return an event as OpenLineage's own class.

    :raises TypeError: the event does not fit the class
    """
    fields = {name: value for name, value in event.items() if name != "schemaURL"}
    return build(event_v2.RunEvent, {**fields, "eventType": event_v2.RunState[event["eventType"]]})


def build(kind: Any, value: Any) -> Any:
    """Build a value of one of OpenLineage's types from JSON.

    :raises TypeError: a field is unknown, missing or of another type
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else build(next(one for one in arguments if one is not NoneType), value)
    if origin is list:
        return [build(arguments[0], item) for item in value]
    if origin is dict:
        return {name: build(_facet(name, item) or arguments[1], item) for name, item in value.items()}
    if isinstance(kind, type) and attr.has(kind):
        hints = get_type_hints(kind)
        return kind(**{name: build(hints[name], item) for name, item in value.items() if not name.startswith("_")})
    if kind in (str, int, bool) and type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _facet(name: str, value: Any) -> Any:
    """Return the class of a facet, if the value is one."""
    if not (isinstance(value, dict) and "_schemaURL" in value):
        return None
    return CUSTOM.get(name) or PUBLISHED[value["_schemaURL"]]
