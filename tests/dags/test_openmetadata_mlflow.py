from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, AssetOrTimeSchedule

from include import config
from include.platform.assets import MODEL_EVALUATED


def test_the_graph(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"ingest"},
        "ingest": {"complete"},
        "complete": {"end"},
        "end": set(),
    }


def test_it_runs_every_night_and_when_a_model_was_evaluated(dag: DAG) -> None:
    schedule: Any = dag.schedule

    assert isinstance(schedule, AssetOrTimeSchedule)
    assert schedule.timetable.expression == "30 4 * * *"
    assert list(schedule.asset_condition.objects) == [MODEL_EVALUATED]


def test_it_is_off_until_somebody_has_a_server_to_fill(dag: DAG) -> None:
    assert dag.is_paused_upon_creation is True


def test_what_the_workflow_file_must_not_say_is_an_error_of_the_dag(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps({"source": {"type": "mysql"}}))
    monkeypatch.setattr(config, "OPENMETADATA_WORKFLOW", file)

    (error,) = DagBag(dag.fileloc).import_errors.values()

    assert f"{file}: source.type is mysql: write mlflow" in error
