"""A trigger that watches a folder of the object store."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)
POLL = 5.0  # seconds; without a queue beside it, S3 has no event for an upload
REMIND = 300.0  # seconds after which an object that is still there is announced again


class S3FolderTrigger(BaseEventTrigger):
    """Fires when objects appear in a folder, once for those that appear together.

    It lists the folders every few seconds without a thread or a task slot, and goes on when S3 does not answer. Which
    objects it has announced is kept in memory.

    :param folder: ``s3://bucket/prefix``; new and changed objects are announced at once
    :param aws_conn_id: Airflow connection of the object store
    :param leftovers: where objects of ``folder`` are while they are processed; one that stays for ``remind`` seconds,
        because its processing was killed, is announced. None if objects stay in ``folder``: then those that are there
        at the start are known, and none is announced again
    :param poll: seconds between two listings
    :param remind: seconds after which an object that should be gone is announced again
    """

    def __init__(
        self, folder: str, aws_conn_id: str, leftovers: str | None = None, poll: float = POLL, remind: float = REMIND
    ) -> None:
        super().__init__()
        self.folder = folder
        self.aws_conn_id = aws_conn_id
        self.leftovers = leftovers
        self.poll = poll
        self.remind = remind
        self._due: dict[str, float] | None = None  # when each object is announced next; None before the first listing

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, from which the triggerer creates its own instance."""
        names = ("folder", "aws_conn_id", "leftovers", "poll", "remind")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield ``{"objects": <number>}`` when there are new ones."""
        last_error = ""
        while True:
            try:
                async for count in self._watch(S3Hook(self.aws_conn_id)):
                    yield TriggerEvent({"objects": count})
            except Exception as error:  # a watcher that ended would not start again by itself
                if last_error != (last_error := str(error)):
                    log.warning("%s cannot be listed, retrying every %s s: %s", self.folder, self.poll, error)
            await asyncio.sleep(self.poll)

    async def _watch(self, hook: S3Hook) -> AsyncIterator[int]:
        async with await hook.get_async_conn() as client:
            while True:
                new = await _list(hook, client, self.folder)
                old = await _list(hook, client, self.leftovers) if self.leftovers else []
                if count := self.count_due(new, old, time.monotonic()):
                    yield count
                await asyncio.sleep(self.poll)

    def count_due(self, new: Iterable[str], old: Iterable[str], now: float) -> int:
        """Return how many objects are to be announced, by the identities of new ones and of leftovers."""
        again = now + self.remind if self.leftovers else math.inf
        if self._due is None:
            self._due = {} if self.leftovers else dict.fromkeys(new, again)
        first = dict.fromkeys(old, again) | dict.fromkeys(new, now)
        due = {identity: self._due.get(identity, at) for identity, at in first.items()}
        ripe = [identity for identity, at in due.items() if at <= now]
        self._due = due | dict.fromkeys(ripe, again)
        return len(ripe)


async def _list(hook: S3Hook, client: Any, uri: str) -> list[str]:
    """Return an identity for each object of a folder, which changes when the object is replaced."""
    address = urlsplit(uri)
    found = hook.get_file_metadata_async(client, address.netloc, f"{address.path.strip('/')}/")
    return [
        f"{entry['Key']} {entry.get('ETag')} {entry['LastModified']}"
        async for entry in found
        if entry["Size"] or not entry["Key"].endswith("/")  # the marker that some tools create for a folder
    ]
