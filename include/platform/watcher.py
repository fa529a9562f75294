"""Watching a folder of the object store from Airflow's triggerer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)
POLL = 5.0  # seconds between two looks: S3 tells nobody of an upload without a queue beside it
REMIND = 300.0  # seconds after which an object that still lies there is announced again


class S3FolderTrigger(BaseEventTrigger):
    """Announces objects as they appear in a folder, those that appear together in one event.

    It waits without a thread or a task slot, lists its folders every few seconds, and goes on when S3 does not
    answer. What it has announced it keeps in memory.

    :param folder: ``s3://bucket/prefix``, whose new and changed objects are announced at once
    :param aws_conn_id: Airflow connection of the object store
    :param leftovers: where objects of ``folder`` are while they are processed; one that lies there for ``remind``
        seconds, as one does whose processing was killed, is announced. None if objects stay in ``folder``: then those
        that lie there at the start are known, and none is announced again
    :param poll: seconds between two looks
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
        self._due: dict[str, float] | None = None  # when each object is announced next; None before the first look

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, from which the triggerer makes its own instance."""
        names = ("folder", "aws_conn_id", "leftovers", "poll", "remind")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield ``{"objects": <number of new ones>}`` whenever there are some."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        trouble = ""
        while True:
            try:
                async for count in self._watch(S3Hook(self.aws_conn_id)):
                    yield TriggerEvent({"objects": count})
            except Exception as error:  # a watcher that ended would not start again by itself
                if trouble != (trouble := str(error)):
                    log.warning("%s cannot be listed, trying every %s s: %s", self.folder, self.poll, error)
            await asyncio.sleep(self.poll)

    async def _watch(self, hook: S3Hook) -> AsyncIterator[int]:
        async with await hook.get_async_conn() as client:
            while True:
                new = await _list(client, self.folder)
                old = await _list(client, self.leftovers) if self.leftovers else []
                if count := self.count_due(new, old, time.monotonic()):
                    yield count
                await asyncio.sleep(self.poll)

    def count_due(self, new: Iterable[str], old: Iterable[str], now: float) -> int:
        """Return how many objects are to be announced.

        :param new: identities of the objects in the folder
        :param old: identities of the leftovers
        :param now: seconds
        """
        again = now + self.remind if self.leftovers else math.inf
        if self._due is None:
            self._due = {} if self.leftovers else dict.fromkeys(new, again)
        first = dict.fromkeys(old, again) | dict.fromkeys(new, now)
        due = {identity: self._due.get(identity, at) for identity, at in first.items()}
        ripe = [identity for identity, at in due.items() if at <= now]
        self._due = due | dict.fromkeys(ripe, again)
        return len(ripe)


async def _list(client: Any, uri: str) -> list[str]:
    """Return an identity for each object of a folder, which changes when the object is replaced."""
    address = urlsplit(uri)
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=address.netloc, Prefix=f"{address.path.strip('/')}/"
    )
    found = [entry async for page in pages for entry in page.get("Contents", [])]
    return [
        f"{entry['Key']} {entry.get('ETag')} {entry['LastModified']}"
        for entry in found
        if not entry["Key"].endswith("/")  # the mark that some tools leave for a folder
    ]
