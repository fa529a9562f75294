"""What can be seen of processes from outside while a test goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def watched(processes: Callable[[], Iterator[psutil.Process]]) -> Iterator[set[str]]:
    """Collect the command line of every process that runs meanwhile.

    :param processes: yields those that are to be watched
    """
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            for process in processes():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
