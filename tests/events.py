"""Asset events as a task's ``inlet_events`` has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from airflow.sdk import Asset


@dataclass(frozen=True)
class Event:
    """An event of an asset at a time."""

    timestamp: int
    extra: dict[str, Any]


@dataclass(frozen=True)
class Events(Sequence[Event]):
    """The events of one asset, filtered as by Airflow's ``InletEventsAccessor``."""

    events: tuple[Event, ...]
    is_ascending: bool = True
    most: int | None = None

    def ascending(self, ascending: bool = True) -> Events:
        return replace(self, is_ascending=ascending)

    def limit(self, limit: int) -> Events:
        return replace(self, most=limit)

    def _found(self) -> list[Event]:
        in_order = sorted(self.events, key=lambda event: event.timestamp, reverse=not self.is_ascending)
        return in_order[: self.most]

    def __len__(self) -> int:
        return len(self._found())

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._found()[index]


def inlet_events(asset: Asset, *extras: dict[str, Any]) -> dict[Asset, Events]:
    """Return events of an asset, one after the other."""
    return {asset: Events(tuple(Event(at, extra) for at, extra in enumerate(extras)))}
