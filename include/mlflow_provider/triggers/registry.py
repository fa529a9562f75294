"""Events of MLflow's model registry, for DAGs that are scheduled on assets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from ..exceptions import MLflowError
from ..hooks.values import records
from .model_version import ask

if TYPE_CHECKING:
    from ..hooks.client import MLflowClientHook

CURSOR = "mlflow_cursor"
LONGEST_PAUSE = 300.0  # seconds between two requests to a server that is away

log = logging.getLogger(__name__)


@dataclass
class Snapshot:
    """Content of the registry, and what to save once its events are stored."""

    registry: dict[str, Any]
    saves: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def save(self) -> None:
        """Save the cursors of the watchers."""
        for save in self.saves:
            await save()


class RegistryPoller(SharedStreamProducer):
    """Polls the registry for all watchers of a connection."""

    def __init__(self, conn_id: str, poke_interval: float, tags: bool) -> None:
        self.conn_id = conn_id
        self.poke_interval = poke_interval
        self.read = _read_tags if tags else _read_models

    async def open_stream(self) -> AsyncIterator[tuple[Snapshot, Snapshot]]:
        """Yield each snapshot twice: for the watchers and for :meth:`advance`."""
        pause = self.poke_interval
        while True:
            try:
                snapshot = Snapshot(await ask(self.conn_id, self.read))
                yield snapshot, snapshot
                pause = self.poke_interval
            except Exception as error:  # an error would end the watchers for good
                log.warning("The registry of connection %r cannot be read: %s", self.conn_id, error)
                pause = min(2 * pause, max(LONGEST_PAUSE, self.poke_interval))
            await asyncio.sleep(pause)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Save the cursors of snapshots whose events are in Airflow's database."""
        for item in batch:
            if not item.outcome.failed:
                await item.broker_payload.save()


class MLflowRegistryEventTrigger(BaseEventTrigger):
    """Fires when a version is created, an alias moves or a tag of a version is set; for an ``AssetWatcher``.

    Watchers of one connection share one poll of the registry. A cursor is kept in the asset's state store (Airflow
    3.3) and saved once the events are stored: after a restart, only changes since then fire. An event comes twice only
    if the triggerer is killed in the second between the two. The first poll of a new watcher fires no event. While
    the server is unavailable, the trigger polls at growing intervals.

    The event is ``{"event", "model", "version", "run_id", "page"}``, with ``alias``, or ``tag`` and ``value``.

    :param event: ``version``, ``alias`` or ``tag``
    :param name: of the registered model, or a pattern such as ``team-*``
    :param key: alias or tag to watch; any by default
    :param poke_interval: seconds between two polls
    """

    def __init__(
        self,
        *,
        event: Literal["version", "alias", "tag"],
        name: str = "*",
        key: str | None = None,
        mlflow_conn_id: str = "mlflow_default",
        poke_interval: float = 30.0,
    ) -> None:
        super().__init__()
        if event not in ("version", "alias", "tag"):
            raise ValueError(f"event is {event!r}, not one of 'version', 'alias' and 'tag'")
        self.event = event
        self.name = name
        self.key = key
        self.mlflow_conn_id = mlflow_conn_id
        self.poke_interval = poke_interval
        self._saved: Any = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        names = ("event", "name", "key", "mlflow_conn_id", "poke_interval")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable:
        """Return the key of the shared poll; only watchers of tags read all versions."""
        return ("mlflow", self.mlflow_conn_id, self.poke_interval, self.event == "tag")

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> RegistryPoller:
        """Return the poller of all watchers with the same key."""
        return RegistryPoller(kwargs["mlflow_conn_id"], kwargs["poke_interval"], kwargs["event"] == "tag")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll alone; the triggerer uses the shared stream instead."""
        async for event in self.filter_shared_stream(self._poll_alone()):
            yield event

    async def _poll_alone(self) -> AsyncIterator[Snapshot]:
        last = None
        async for snapshot, _ in self.create_shared_stream_producer(self.serialize()[1]).open_stream():
            if last:  # not before, because Airflow stores an event after it was yielded
                await last.save()
            yield snapshot
            last = snapshot

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Snapshot]) -> AsyncIterator[TriggerEvent]:
        """Yield what changed since the last snapshot."""
        seen: Any = None
        is_read = False
        async for snapshot in shared_stream:
            found = self._select(snapshot.registry)
            try:
                if not is_read:
                    seen = self._saved = await self._read_cursor()
                is_read = True
                changes = [] if seen is None else self._changes(seen, found)
                events = await ask(self.mlflow_conn_id, partial(self._describe, changes)) if changes else []
            except Exception as error:  # found again in the next snapshot
                self.log.warning("Cannot determine what changed in the registry: %s", error)
                continue
            for event in events:
                yield TriggerEvent(event)
            seen = found
            snapshot.saves.append(partial(self._save_cursor, found))

    async def _read_cursor(self) -> Any:
        found = [await store.aget(CURSOR) for store in self._stores()]
        return next((cursor for cursor in found if cursor is not None), None)

    async def _save_cursor(self, cursor: dict[str, Any]) -> None:
        if cursor == self._saved:
            return
        try:
            for store in self._stores():
                await store.aset(CURSOR, cursor)
            self._saved = cursor
        except Exception as error:  # retried after the next snapshot
            self.log.warning("Cannot save what was seen of the registry: %s", error)

    def _stores(self) -> list[Any]:
        """Return the state store of each watched asset: assets with equal watchers share one trigger."""
        return list(self.asset_state_store._by_name.values()) if self.asset_state_store else []

    def _select(self, registry: dict[str, Any]) -> dict[str, dict[str, str]]:
        def counts(key: str) -> bool:
            return self.key in (None, key.partition(" ")[2] or key)

        models = {name: kinds[self.event] for name, kinds in registry.items() if fnmatchcase(name, self.name)}
        return {name: {key: value for key, value in keys.items() if counts(key)} for name, keys in models.items()}

    def _changes(self, seen: dict[str, Any], found: dict[str, Any]) -> list[dict[str, str]]:
        changes = []
        for model, keys in found.items():
            old = seen.get(model, {})
            for key, value in keys.items():
                if self.event == "version":
                    numbers = range(int(old.get(key, 0)) + 1, int(value) + 1)
                    changes += [{"model": model, "version": str(number)} for number in numbers]
                elif old.get(key) != value and self.event == "alias":
                    changes.append({"model": model, "version": value, "alias": key})
                elif old.get(key) != value:
                    version, _, tag = key.partition(" ")
                    changes.append({"model": model, "version": version, "tag": tag, "value": value})
        return changes

    def _describe(self, changes: list[dict[str, str]], hook: MLflowClientHook) -> list[dict[str, str]]:
        """Return the events of changes, without those of versions that were deleted again."""
        events = []
        for change in changes:
            try:
                version = hook.get_model_version(change["model"], change["version"])
            except MLflowError as error:
                if not hook.is_missing(error, change["model"]):
                    raise
                continue
            page = hook.server.page("models", change["model"], "versions", change["version"])
            events.append({"event": self.event, **change, "run_id": version.get("run_id", ""), "page": page})
        return events


def _read_models(hook: MLflowClientHook) -> dict[str, Any]:
    """Return the newest version and the aliases of each model."""
    found = {}
    for model in hook.search_registered_models():
        newest = max((int(version["version"]) for version in records(model.get("latest_versions"))), default=0)
        aliases = {item["alias"]: item["version"] for item in records(model.get("aliases"))}
        found[model["name"]] = {"version": {"": str(newest)}, "alias": aliases}
    return found


def _read_tags(hook: MLflowClientHook) -> dict[str, Any]:
    """Return the tags of each model's versions, under ``<version> <key>``."""
    found: dict[str, Any] = {}
    for version in hook.search_model_versions():
        tags = {f"{version['version']} {tag['key']}": tag.get("value", "") for tag in records(version.get("tags"))}
        found.setdefault(version["name"], {"tag": {}})["tag"].update(tags)
    return found
