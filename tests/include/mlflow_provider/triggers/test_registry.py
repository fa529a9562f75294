import asyncio
import json

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import AssetStateStoreAccessors
from airflow.serialization.encoders import encode_trigger
from airflow.triggers.shared_stream import SharedStreamManager

from include.mlflow_provider.hooks import rest
from include.mlflow_provider.triggers.registry import CURSOR, MLflowRegistryEventTrigger

from ..scripted import Answer

VERSION = Answer(200, '{"model_version": {"name": "a", "version": "2", "run_id": "r"}}')


class Store:
    """What the triggerer gives a watcher to keep things in, for one asset; it lives in Airflow's database."""

    def __init__(self):
        self.values = {}
        self.is_away = False

    async def aget(self, key):
        return self.values.get(key)

    async def aset(self, key, value):
        if self.is_away:
            raise RuntimeError("the database is locked")
        self.values[key] = json.loads(json.dumps(value))


def watcher(*stores, **arguments):
    trigger = MLflowRegistryEventTrigger(**{"poke_interval": 0.05, **arguments})
    if stores:
        names = [f"asset {number}" for number in range(len(stores))]
        trigger.asset_state_store = AssetStateStoreAccessors([Asset(name) for name in names])
        trigger.asset_state_store._by_name.update(zip(names, stores, strict=True))
    return trigger


def watch(trigger, *actions):
    """Poll once, then after each action and once more; return the events of the trigger."""

    async def snapshots():
        stream = trigger.create_shared_stream_producer(trigger.serialize()[1]).open_stream()
        for action in (None, *actions, None):
            if action:
                await asyncio.to_thread(action)
            snapshot, _ = await anext(stream)
            yield snapshot
            await snapshot.save()

    async def collect():
        return [event.payload async for event in trigger.filter_shared_stream(snapshots())]

    return asyncio.run(asyncio.wait_for(collect(), 60))


@pytest.fixture
def add(hook, name, lengths):
    hook.create_registered_model(name)
    return lambda: hook.create_model_version(name, lengths.uri, lengths.run_id)


def test_it_is_rebuilt_from_what_it_serializes():
    arguments = {"event": "alias", "name": "team-*", "key": "champion", "mlflow_conn_id": "a", "poke_interval": 5.0}
    trigger = MLflowRegistryEventTrigger(**arguments)
    path, serialized = trigger.serialize()
    assert serialized == arguments
    assert encode_trigger(trigger) == {"classpath": path, "kwargs": arguments}


def test_an_event_that_mlflow_does_not_have_is_rejected():
    with pytest.raises(ValueError, match="not one of 'version', 'alias' and 'tag'"):
        MLflowRegistryEventTrigger(event="stage")


def test_every_version_that_is_created_is_one_event_and_what_was_there_is_none(hook, name, add, lengths):
    add()
    found = watch(watcher(event="version", name=name), lambda: [add(), add()], add)
    assert [event["version"] for event in found] == ["2", "3", "4"]
    page = hook.server.page("models", name, "versions", "2")
    assert found[0] == {"event": "version", "model": name, "version": "2", "run_id": lengths.run_id, "page": page}


def test_a_version_that_is_gone_again_is_no_event(hook, name, add):
    found = watch(watcher(event="version", name=name), lambda: [add(), hook.delete_model_version(name, 1), add()])
    assert [event["version"] for event in found] == ["2"]


def test_an_alias_that_moves_goes_and_comes_back_is_an_event_each_time(hook, name, add):
    add(), add()
    found = watch(
        watcher(event="alias", name=name, key="champion"),
        lambda: hook.set_registered_model_alias(name, "champion", 1),
        lambda: hook.set_registered_model_alias(name, "other", 1),
        lambda: hook.set_registered_model_alias(name, "champion", 2),
        lambda: hook.delete_registered_model_alias(name, "champion"),
        lambda: hook.set_registered_model_alias(name, "champion", 2),
    )
    assert [(event["alias"], event["version"]) for event in found] == [("champion", version) for version in "122"]


def test_a_tag_that_is_set_or_changes_is_an_event(hook, name, add):
    add()
    found = watch(
        watcher(event="tag", name=name, key="is checked"),
        lambda: hook.set_model_version_tag(name, 1, "is checked", "no"),
        lambda: hook.set_model_version_tag(name, 1, "other", "x"),
        lambda: hook.set_model_version_tag(name, 1, "is checked", "yes"),
    )
    assert [(event["tag"], event["value"]) for event in found] == [("is checked", "no"), ("is checked", "yes")]


def test_a_pattern_takes_all_models_that_match(hook, name, lengths):
    def create(*names):
        for model in names:
            hook.create_registered_model(model)
            hook.create_model_version(model, lengths.uri)

    found = watch(watcher(event="version", name=f"{name}-*"), lambda: create(f"{name}-a", f"{name}-b", f"{name} c"))
    assert {event["model"] for event in found} == {f"{name}-a", f"{name}-b"}


def test_after_a_restart_comes_what_happened_meanwhile_and_nothing_else(name, add):
    store = Store()
    assert len(watch(watcher(store, event="version", name=name), add)) == 1
    assert watch(watcher(store, event="version", name=name)) == []
    add()
    assert [event["version"] for event in watch(watcher(store, event="version", name=name))] == ["2"]
    assert store.values == {CURSOR: {name: {"": "2"}}}


def test_assets_with_equal_watchers_share_the_cursor(name, add):
    old, new = Store(), Store()
    watch(watcher(old, event="version", name=name))
    add()
    assert len(watch(watcher(old, new, event="version", name=name))) == 1
    assert old.values == new.values == {CURSOR: {name: {"": "1"}}}


def test_a_cursor_that_could_not_be_saved_is_saved_after_the_next_snapshot(name, add):
    store = Store()
    store.is_away = True
    assert len(watch(watcher(store, event="version", name=name), add, lambda: setattr(store, "is_away", False))) == 1
    assert store.values == {CURSOR: {name: {"": "1"}}}


def test_what_was_seen_is_saved_when_airflow_has_stored_the_event_and_not_before(scripted):
    server = scripted(model("1"), model("2"), VERSION, *[model("2")] * 500)
    store = Store()
    trigger = watcher(store, event="version", mlflow_conn_id="scripted")

    async def run():
        manager = SharedStreamManager()
        key = trigger.shared_stream_key()
        stream = trigger.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=trigger, key=key))
        await anext(stream)
        number = manager.bind_pending_event(trigger_id=1, key=key)
        following = asyncio.create_task(anext(stream))
        while len(server.requests) < 10:  # it goes on polling
            await asyncio.sleep(0.05)
        assert store.values[CURSOR] == {"a": {"": "1"}}
        manager.confirm_persisted([number])
        while store.values[CURSOR] != {"a": {"": "2"}}:
            await asyncio.sleep(0.05)
        following.cancel()
        await manager.stop_all()

    asyncio.run(asyncio.wait_for(run(), 30))


def model(version):
    return Answer(200, json.dumps({"registered_models": [{"name": "a", "latest_versions": [{"version": version}]}]}))


@pytest.fixture
def impatience(monkeypatch):
    monkeypatch.setattr(rest, "RETRIES", 0)


def test_a_server_that_is_away_is_waited_for_and_no_event_is_lost(scripted, impatience):
    away = [Answer(503), Answer(500, "no")]
    scripted(model("1"), *away, model("2"), Answer(503), model("2"), VERSION, model("2"))
    trigger = watcher(event="version", mlflow_conn_id="scripted")
    found = watch(trigger, lambda: None, lambda: None)
    assert [(event["version"], event["run_id"]) for event in found] == [("2", "r")]


def test_many_watchers_share_one_poll(scripted):
    server = scripted(model("1"))

    async def share():
        manager = SharedStreamManager(cohort_grace_period=0.5)
        triggers = [
            watcher(event=event, mlflow_conn_id="scripted", poke_interval=60.0) for event in ("version", "alias")
        ]
        streams = [
            manager.subscribe(trigger_id=number, trigger=trigger, key=trigger.shared_stream_key())
            for number, trigger in enumerate(triggers)
        ]
        found = [await asyncio.wait_for(anext(stream), 30) for stream in streams]
        await manager.stop_all()
        return found

    first, second = asyncio.run(share())
    assert first.registry == second.registry == {"a": {"version": {"": "1"}, "alias": {}}}
    assert len(server.requests) == 1


def test_it_watches_alone_where_no_stream_is_shared(scripted):
    scripted(model("1"), model("2"), VERSION)

    async def first():
        return await anext(watcher(event="version", mlflow_conn_id="scripted").run())

    assert asyncio.run(asyncio.wait_for(first(), 30)).payload["version"] == "2"
