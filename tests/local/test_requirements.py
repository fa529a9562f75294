"""Pins and lock files have the same versions."""

import re
from pathlib import Path

import pytest

from local.settings import PROJECT

FOLDER = PROJECT / "local" / "requirements"
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;*]+)(?=\s|;|$)", re.MULTILINE)


def pins(file: Path) -> set[tuple[str, str]]:
    return set(PIN.findall(file.read_text()))


@pytest.mark.parametrize(
    ("pinned", "lock"),
    [(PROJECT / "requirements.txt", "airflow"), *((file, file.stem) for file in sorted(FOLDER.glob("*.in")))],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_pin_is_locked(pinned: Path, lock: str) -> None:
    assert pins(pinned)
    assert pins(pinned) - pins(FOLDER / f"{lock}.txt") == set()  # else: make lock
