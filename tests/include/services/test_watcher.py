import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from include.services import storage
from include.services.assets import INCOMING, PROCESSING
from include.services.watcher import S3FolderTrigger
from include.settings import AWS_CONN_ID


@pytest.fixture
def trigger() -> S3FolderTrigger:
    return S3FolderTrigger("s3://data/watched/new", AWS_CONN_ID, "s3://data/watched/old", poll=0.2, remind=60)


@pytest.mark.parametrize(
    ("looks", "due"),
    [
        ([("abc", "", now) for now in (0, 5, 59)], [3, 0, 0]),
        ([("a", "", now) for now in (0, 60, 61)], [1, 1, 0]),
        ([(new, "", 0) for new in ("a", "", "a")], [1, 0, 1]),
        ([("", "a", now) for now in (0, 59, 60)], [0, 0, 1]),
    ],
    ids=["once", "again if it stays", "again if it comes back", "if it is processed, only if it stays"],
)
def test_an_object_is_announced(trigger: S3FolderTrigger, looks: list[tuple[str, str, int]], due: list[int]) -> None:
    assert [trigger.count_due([*new], [*leftovers], now) for new, leftovers, now in looks] == due


def test_without_leftovers_an_object_is_announced_once_and_never_if_it_was_there_at_the_start() -> None:
    trigger = S3FolderTrigger("s3://data/watched/new", AWS_CONN_ID)

    assert [trigger.count_due(new, [], now) for new, now in ((["a"], 0), (["a", "b"], 5), (["a", "b"], 9e9))] == [
        0,
        1,
        0,
    ]


def test_the_watched_asset_is_the_folder_that_the_trigger_lists() -> None:
    (watcher,) = INCOMING.watchers
    path, arguments = watcher.trigger.serialize()

    assert arguments["folder"] == INCOMING.uri
    assert arguments["leftovers"] == PROCESSING
    assert path == "include.services.watcher.S3FolderTrigger"


async def next_event(events: AsyncIterator[Any]) -> Any:
    return (await asyncio.wait_for(anext(events), 30)).payload


def test_uploads_to_the_real_store_are_announced_while_other_coroutines_run(
    buckets: None, trigger: S3FolderTrigger
) -> None:
    async def watch() -> list[Any]:
        events = trigger.run()
        first = asyncio.create_task(next_event(events))
        await asyncio.to_thread(storage.write_bytes, b"1", "s3://data/watched/new/one.csv")
        announced = [await first]
        for content in (b"2", b"3, the same file again"):
            again = asyncio.create_task(next_event(events))
            await asyncio.to_thread(storage.write_bytes, content, "s3://data/watched/new/two.csv")
            announced.append(await again)
        await events.aclose()
        return announced

    assert asyncio.run(watch()) == [{"objects": 1}] * 3


def test_a_store_that_is_down_is_logged_once_and_the_watch_goes_on(
    services: dict[str, Any],
    buckets: None,
    trigger: S3FolderTrigger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    works = services["AIRFLOW_CONN_AWS_DEFAULT"]
    broken = json.loads(works) | {"password": "wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(broken))

    async def watch() -> Any:
        event = asyncio.create_task(next_event(trigger.run()))
        deadline = time.monotonic() + 30
        while not any("cannot be listed" in record.message for record in caplog.records):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await asyncio.sleep(5 * trigger.poll)  # several more listings
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", works)
        await asyncio.to_thread(storage.write_bytes, b"4", "s3://data/watched/new/four.csv")
        return await event

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(watch())["objects"] >= 1
    assert sum("cannot be listed" in record.message for record in caplog.records) == 1
