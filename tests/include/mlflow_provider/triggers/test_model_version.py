import asyncio
import json
import time
from urllib.parse import quote

import pytest
from airflow.sdk._shared.module_loading import import_string

from include.mlflow_provider.hooks import rest
from include.mlflow_provider.triggers.model_version import MLflowModelVersionTrigger

from ..scripted import Answer

SLOW = 1.0  # seconds that a slow server takes for an answer
LAG = SLOW / 2  # seconds that a coroutine may be late: far more than it is, less than if one waited for the other


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(rest, "RETRY_AFTER_MAX", 0.01)


def trigger(**arguments):
    return MLflowModelVersionTrigger(**{"name": "m", "poke_interval": 0.05, **arguments})


async def events(**arguments):
    return [event async for event in trigger(**arguments).run()]


def fired(**arguments):
    """The payload of the trigger's only event."""
    (event,) = asyncio.run(asyncio.wait_for(events(**arguments), timeout=60))
    return event.payload


def answer(status="READY", seconds=0.0):
    body = json.dumps({"model_version": {"name": "m", "version": "1", "status": status}})
    return Answer(200, body, seconds=seconds)


async def late_during(work):
    """Do some work and return its result and the share of its time for which this coroutine was late.

    The share is near 1 if the work blocks the loop. The longest delay says less: a busy machine has long ones too.
    """
    task, started, late = asyncio.ensure_future(work), time.monotonic(), 0.0
    while not task.done():
        due = time.monotonic() + SLOW / 10
        await asyncio.sleep(SLOW / 10)
        late += time.monotonic() - due
    return await task, late / (time.monotonic() - started)


def test_it_is_rebuilt_from_what_it_serializes():
    arguments = {"name": "m", "version": 3, "alias": "champion", "metric": "rmse", "at_least": None, "at_most": 1.3}
    arguments |= {"mlflow_conn_id": "scripted", "poke_interval": 120.0}
    path, kwargs = trigger(**arguments).serialize()
    assert kwargs == arguments
    assert import_string(path)(**kwargs).serialize() == (path, arguments)


def test_it_fires_once_with_the_version_as_the_hook_returns_it_and_its_page(hook, name, version):
    page = f"{hook.base_url}/#/models/{quote(name)}/versions/1"
    assert fired(name=name, version=1) == {"version": hook.get_model_version(name, 1), "page": page}


def test_it_fires_when_the_alias_and_the_metric_are_there(hook, name, add_version):
    async def promote_while_waiting():
        waiting = asyncio.ensure_future(events(name=name, alias="champion", metric="rmse", at_most=1.3))
        version = await asyncio.to_thread(add_version, rmse=1.5)
        await asyncio.to_thread(hook.set_registered_model_alias, name, "champion", 1)
        assert not waiting.done()
        await asyncio.to_thread(hook.log_batch, version["run_id"], [{"key": "rmse", "value": 1.26, "step": 1}])
        return await waiting

    (event,) = asyncio.run(promote_while_waiting())
    assert event.payload["version"] == hook.get_model_version(name, 1)


def test_a_wrong_password_is_an_error_that_names_the_connection(hook, connect):
    connect(host=hook.base_url, login="admin", password="s3cret-word")
    error = fired(version=1, mlflow_conn_id="scripted")["error"]
    assert "Check login and password of connection 'scripted'" in error
    assert "s3cret-word" not in error


def test_a_server_that_is_away_is_waited_for_and_the_log_says_so(scripted, capsys):
    scripted(*[Answer(500, "disk full")] * 5, answer("PENDING_REGISTRATION"), answer())
    assert fired(version=1, mlflow_conn_id="scripted")["version"]["status"] == "READY"
    log = capsys.readouterr().out
    assert "Waiting: MLflow answered 500" in log
    assert "Waiting: Version 1 of 'm' is PENDING_REGISTRATION" in log


def test_a_server_that_gives_no_answer_is_waited_for(scripted):
    server = scripted(Answer(seconds=60), *[Answer(seconds=60)] * rest.RETRIES, answer(), extra={"timeout": 0.1})
    assert fired(version=1, mlflow_conn_id="scripted")["version"]["status"] == "READY"
    assert len(server.requests) == 2 + rest.RETRIES


def test_a_connection_that_cannot_be_read_for_a_while_is_waited_for(scripted, monkeypatch, capsys):
    scripted(answer())

    async def wait():
        with monkeypatch.context() as patch:
            patch.delenv("AIRFLOW_CONN_SCRIPTED")
            waiting = asyncio.ensure_future(events(version=1, mlflow_conn_id="scripted"))
            while "Waiting: The conn_id `scripted` isn't defined" not in capsys.readouterr().out:
                await asyncio.sleep(0.01)
        return await waiting

    (event,) = asyncio.run(asyncio.wait_for(wait(), timeout=60))
    assert event.payload["version"]["status"] == "READY"


def test_a_password_that_changes_while_it_waits_is_used(scripted, connect):
    server = scripted(answer("PENDING_REGISTRATION"), login="token", password="first-token")

    async def wait():
        waiting = asyncio.ensure_future(events(version=1, mlflow_conn_id="scripted"))
        while not server.requests:
            await asyncio.sleep(0.01)
        connect(host="127.0.0.1", port=server.port, login="token", password="second-token")
        server.answers = [answer()]
        return await waiting

    asyncio.run(asyncio.wait_for(wait(), timeout=60))
    sent = [headers["Authorization"] for _, _, headers, _ in server.requests]
    assert (sent[0], sent[-1]) == ("Bearer first-token", "Bearer second-token")


def test_the_event_loop_goes_on_while_the_server_is_slow(scripted):
    scripted(answer("PENDING_REGISTRATION", seconds=SLOW), answer(seconds=SLOW))
    started = time.monotonic()
    (event,), late = asyncio.run(late_during(events(version=1, mlflow_conn_id="scripted")))
    assert event.payload["version"]["status"] == "READY"
    assert time.monotonic() - started >= 2 * SLOW
    assert late < 0.5


def test_fifty_triggers_wait_at_once_and_leave_the_threads_of_the_loop_alone(scripted):
    server = scripted(*[answer("PENDING_REGISTRATION", seconds=SLOW)] * 50, answer())

    async def wait():
        triggers = (events(version=1, mlflow_conn_id="scripted") for _ in range(50))
        waiting = asyncio.ensure_future(asyncio.gather(*triggers))
        while len(server.requests) < 20:  # more than the threads of the loop on any machine of less than 16 cores
            await asyncio.sleep(0.01)
        asked = time.monotonic()
        seconds = await asyncio.to_thread(time.monotonic) - asked
        return await waiting, seconds

    started = time.monotonic()
    (fired, seconds), late = asyncio.run(late_during(wait()))
    assert [event.payload["version"]["status"] for (event,) in fired] == ["READY"] * 50
    assert seconds < LAG
    assert late < 0.5
    assert time.monotonic() - started < 10 * SLOW  # one after the other they would take 50


def test_a_trigger_that_is_cancelled_ends_at_once(scripted):
    server = scripted(answer(seconds=60))

    async def cancel():
        waiting = asyncio.ensure_future(events(version=1, mlflow_conn_id="scripted"))
        while not server.requests:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return time.monotonic() - started

    assert asyncio.run(cancel()) < LAG
