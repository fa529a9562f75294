"""Temporary environment variables."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def patched_environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change ``os.environ`` inside the block and restore it afterwards; None removes a variable.

    Only one thread at a time is inside such a block; it may nest them.
    """
    with _LOCK:
        before = {name: os.environ.get(name) for name in changes}
        _apply(changes)
        try:
            yield
        finally:
            _apply(before)


def _apply(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
