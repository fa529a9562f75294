"""What tests ask about processes that they did not start themselves."""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import psutil

PATIENCE = 120  # seconds; only a failure takes so long


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return what a condition gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
    return found


def family(text: str) -> list[int]:
    """Return the numbers of a process and its child from what it printed, none if it has not done so yet."""
    found = re.search(r"family (\d+) (\d+)", text)
    return [int(number) for number in found.groups()] if found else []


def alive(numbers: Iterable[int]) -> list[psutil.Process]:
    """Return those processes that run; one that is dead and not yet waited for does not."""
    found = []
    for number in numbers:
        try:
            process = psutil.Process(number)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for_end(numbers: Iterable[int]) -> None:
    """Wait until none of these processes runs."""
    assert numbers
    wait_until(lambda: not alive(numbers))
