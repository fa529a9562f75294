from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from local import demo
from local.settings import Settings


class Airflow:
    """A task of each run fails; the run of ``feature_eng`` succeeds without it, the run of ``train`` does not."""

    def __init__(self, settings: Settings) -> None:
        self.task = {"task_id": "tune", "map_index": 1, "try_number": 2, "state": "failed", "duration": 1.0}

    def wait_for_dags(self, dag_ids: list[str]) -> None:
        pass

    def run_chain(self, dag_ids: list[str]) -> list[tuple[str, str]]:
        return [(dag_id, f"{dag_id}__1") for dag_id in dag_ids]

    def follow(self, dag_id: str, run_id: str) -> list[list[dict[str, Any]]]:
        return [[self.task | {"dag_id": dag_id, "dag_run_id": run_id, "end_date": "2026"}]]

    def run(self, dag_id: str, run_id: str) -> dict[str, str]:
        return {"state": "success" if dag_id == "feature_eng" else "failed"}

    def error(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        return "ValueError: alpha [-1] is negative"


def test_failed_tasks_are_printed_and_a_failed_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Airflow", Airflow)
    console = Console(record=True, width=200, file=StringIO())
    with pytest.raises(
        demo.DemoError, match=r"^train.tune \[1\] failed: ValueError.*\n  log: .*/run_id=train__1/.*=2.log"
    ):
        demo.run_demo(Settings(), console)
    printed = console.export_text()
    assert "✘ tune [1] 1.0 s" in printed
    assert "continued without feature_eng.tune [1] failed: ValueError: alpha [-1] is negative" in printed
