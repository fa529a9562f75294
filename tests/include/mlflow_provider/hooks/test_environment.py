import os
import threading
import time
from contextlib import suppress

from include.mlflow_provider.environment import patched_environment


def test_variables_are_set_and_removed_inside_and_restored_after(monkeypatch):
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("REMOVED", "before")
    monkeypatch.delenv("ADDED", raising=False)
    with suppress(KeyError), patched_environment({"KEPT": "inside", "REMOVED": None, "ADDED": "inside"}):
        assert (os.environ["KEPT"], os.environ["ADDED"]) == ("inside", "inside")
        os.environ["REMOVED"]  # an error inside restores too
    assert (os.environ["KEPT"], os.environ["REMOVED"]) == ("before", "before")
    assert "ADDED" not in os.environ


def test_blocks_nest_in_one_thread(monkeypatch):
    monkeypatch.delenv("ADDED", raising=False)
    with patched_environment({"ADDED": "outer"}):
        with patched_environment({"ADDED": "inner"}):
            assert os.environ["ADDED"] == "inner"
        assert os.environ["ADDED"] == "outer"


def test_threads_take_turns():
    seen = []

    def work(value):
        with patched_environment({"TURN": value}):
            time.sleep(0.02)
            seen.append((value, os.environ["TURN"]))

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 5
    assert all(mine == found for mine, found in seen)
