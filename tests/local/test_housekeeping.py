"""Lineage events that are trimmed while tasks write and are killed."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.services.lineage_graph import read_events
from local.housekeeping import trim_events

LIMIT = datetime(2026, 1, 1, tzinfo=UTC)
OLD, YOUNG, NEW = (json.dumps({"eventTime": f"{year}-06-01T00:00:00+00:00", "n": year}) for year in (2025, 2026, 2027))
BROKEN = OLD[:20]


def lines(file: Path) -> list[str]:
    return sorted(file.read_text().splitlines())


def test_old_events_and_broken_lines_are_deleted(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(f"{OLD}\n{YOUNG}\n{BROKEN}\n")

    assert trim_events(file, LIMIT, dry_run=True) == 2
    assert trim_events(file, LIMIT, dry_run=False) == 2
    assert lines(file) == [YOUNG]


@pytest.mark.parametrize("written", ["", f"{NEW}\n", f"{NEW}\n{YOUNG}\n"])
def test_no_event_is_lost_or_doubled_after_a_kill(tmp_path: Path, written: str) -> None:
    file = tmp_path / "events.jsonl"
    file.with_suffix(".old").write_text(f"{OLD}\n{YOUNG}\n{NEW}\n")
    if written:
        file.write_text(written)

    trim_events(file, LIMIT, dry_run=False)
    assert lines(file) == sorted([YOUNG, NEW])
    assert list(tmp_path.iterdir()) == [file]


def test_lineage_is_read_without_broken_lines(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(f"{YOUNG}\n{BROKEN}\n")

    assert [event["n"] for event in read_events(file)] == [2026]
