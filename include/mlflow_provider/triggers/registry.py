"""Events of MLflow's model registry, for DAGs that are scheduled on assets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from ..exceptions import MLflowError
from .model_version import ask

if TYPE_CHECKING:
    from ..hooks.client import MLflowClientHook

CURSOR = "mlflow_cursor"
LONGEST_PAUSE = 300.0  # seconds between two looks at a server that is away

log = logging.getLogger(__name__)


class MLflowRegistryEventTrigger(BaseEventTrigger):
    """Fires when a version is created, an alias moves or a tag of a version is set; for an ``AssetWatcher``.

    Watchers of one connection share one look at the registry. What was seen is kept in the asset's state store
    (Airflow 3.3): after a restart, what happened meanwhile fires and nothing else; only an event whose triggerer is
    killed before its next look comes twice. What is there when a watcher starts for the first time fires no event. A
    server that is away is waited for, with growing pauses. Watchers of several assets need different arguments.

    The event is ``{"event", "model", "version", "run_id", "page"}``, with ``alias``, or ``tag`` and ``value``.

    :param event: ``version``, ``alias`` or ``tag``
    :param name: of the registered model, or a pattern such as ``team-*``
    :param key: the alias or tag that counts; any if not given
    :param poke_interval: seconds between two looks
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

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, from which the triggerer creates its own instance."""
        names = ("event", "name", "key", "mlflow_conn_id", "poke_interval")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable:
        """Name the looks that this watcher can share; only for tags are all versions read."""
        return ("mlflow", self.mlflow_conn_id, self.poke_interval, self.event == "tag")

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield what is in the registry, again and again."""
        read = _read_tags if kwargs["event"] == "tag" else _read_models
        pause = kwargs["poke_interval"]
        while True:
            try:
                yield await ask(kwargs["mlflow_conn_id"], read)
                pause = kwargs["poke_interval"]
            except Exception as error:  # a watcher that ended would not start again by itself
                log.warning("The registry of connection %r cannot be read: %s", kwargs["mlflow_conn_id"], error)
                pause = min(2 * pause, max(LONGEST_PAUSE, kwargs["poke_interval"]))
            await asyncio.sleep(pause)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch alone, where Airflow shares no streams."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    async def filter_shared_stream(self, shared_stream: AsyncIterator[dict[str, Any]]) -> AsyncIterator[TriggerEvent]:
        """Yield what changed since the last look."""
        store = self.asset_state_store
        seen: Any = None
        saved: Any = None
        is_read = store is None
        async for registry in shared_stream:
            found = self._select(registry)
            try:
                if store and not is_read:
                    seen = saved = await store.aget(CURSOR)
                elif store and seen != saved:  # not before, because Airflow stores an event after it was yielded
                    await store.aset(CURSOR, seen)
                    saved = seen
                is_read = True
                changes = [] if seen is None else self._changes(seen, found)
                events = await ask(self.mlflow_conn_id, partial(self._describe, changes)) if changes else []
            except Exception as error:  # all of it is found again at the next look
                self.log.warning("Cannot determine what changed in the registry: %s", error)
                continue
            for event in events:
                yield TriggerEvent(event)
            seen = found

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
    from ..hooks.client import records

    found = {}
    for model in hook.search_registered_models():
        newest = max((int(version["version"]) for version in records(model.get("latest_versions"))), default=0)
        aliases = {item["alias"]: item["version"] for item in records(model.get("aliases"))}
        found[model["name"]] = {"version": {"": str(newest)}, "alias": aliases}
    return found


def _read_tags(hook: MLflowClientHook) -> dict[str, Any]:
    """Return the tags of each model's versions, under ``<version> <key>``."""
    from ..hooks.client import records

    found: dict[str, Any] = {}
    for version in hook.search_model_versions():
        tags = {f"{version['version']} {tag['key']}": tag.get("value", "") for tag in records(version.get("tags"))}
        found.setdefault(version["name"], {"tag": {}})["tag"].update(tags)
    return found
