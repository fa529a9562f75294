"""Asset events as a task's ``inlet_events`` has them."""

from types import SimpleNamespace
from typing import Any, Self

from airflow.sdk import Asset


class Events(list[SimpleNamespace]):
    """The events of one asset, from the oldest on, filtered as by Airflow's ``InletEventsAccessor``."""

    def ascending(self, ascending: bool = True) -> Self:
        return type(self)(self if ascending else reversed(self))

    def limit(self, limit: int) -> Self:
        return type(self)(self[:limit])


def inlet_events(asset: Asset, *extras: dict[str, Any]) -> dict[Asset, Events]:
    """Return events of an asset, one after the other."""
    return {asset: Events(SimpleNamespace(extra=extra) for extra in extras)}
