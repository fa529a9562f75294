"""Wait for what other threads and processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_until(
    ask: Callable[[], Answer], timeout: float = 60, error: str | Callable[[], object] = "", pause: float = 0.3
) -> Answer:
    """Ask repeatedly until the answer is true, and return it.

    :param timeout: in seconds; after it, the test fails with ``error``
    :param pause: seconds between two questions
    """
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"after {timeout} s: {error() if callable(error) else error}"
        time.sleep(pause)
    return answer
