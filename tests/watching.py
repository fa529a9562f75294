"""Observe processes from outside during a test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def watched(processes: Callable[[], Iterator[psutil.Process]]) -> Iterator[set[str]]:
    """Collect the command lines of all processes that run inside the block.

    :param processes: yields the processes to observe
    """
    seen: set[str] = set()
    ended = threading.Event()

    def collect() -> None:
        while not ended.wait(0.1):
            for process in processes():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    watcher = threading.Thread(target=collect)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
