from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from local import demo
from local.settings import Settings, temporary

TASKS = [
    {"task_id": name, "map_index": -1, "try_number": 1, "state": state, "end_date": "2026", "duration": 1.0}
    for name, state in (("tune.tune_candidate", "failed"), ("tune.select_candidate", "success"))
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return temporary(tmp_path)


def follow(settings: Settings, state: str) -> str:
    airflow: Any = SimpleNamespace(
        follow=lambda *run: [TASKS],
        tasks=lambda *run: TASKS,
        run=lambda *run: {"state": state},
        error=lambda *run: "ValueError: alpha [-1] is negative",
    )
    console = Console(record=True, width=200, file=StringIO())
    demo._follow(airflow, "train", "manual__1", settings, console)
    return console.export_text()


def test_a_failed_task_that_the_run_got_over_is_told(settings: Settings) -> None:
    assert "went on without train.tune.tune_candidate failed: ValueError: alpha [-1] is negative" in follow(
        settings, "success"
    )


def test_a_failed_run_ends_the_demonstration_with_the_task_and_its_log(settings: Settings) -> None:
    with pytest.raises(demo.DemoError, match=r"tune_candidate failed: ValueError[^\n]*\n  log: .*attempt=1.log"):
        follow(settings, "failed")
