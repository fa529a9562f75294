from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, AssetOrTimeSchedule

from include import config
from include.assets import MODEL_EVALUATED

FILE = Path(__file__).parents[2] / "dags" / "openmetadata_mlflow.py"


@pytest.fixture(scope="module")
def openmetadata_mlflow() -> DAG:
    return DagBag(FILE).dags["openmetadata_mlflow"]


def test_the_graph(openmetadata_mlflow: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in openmetadata_mlflow.tasks} == {
        "start": {"ingest"},
        "ingest": {"complete"},
        "complete": {"end"},
        "end": set(),
    }


def test_it_runs_every_night_and_when_a_model_was_evaluated(openmetadata_mlflow: DAG) -> None:
    schedule: Any = openmetadata_mlflow.schedule

    assert isinstance(schedule, AssetOrTimeSchedule)
    assert schedule.timetable.expression == "30 4 * * *"
    assert list(schedule.asset_condition.objects) == [MODEL_EVALUATED]


def test_it_is_off_until_somebody_has_a_server_to_fill(openmetadata_mlflow: DAG) -> None:
    assert openmetadata_mlflow.is_paused_upon_creation is True


def test_what_the_workflow_file_must_not_say_is_an_error_of_the_dag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps({"source": {"type": "mysql"}}))
    monkeypatch.setattr(config, "OPENMETADATA_WORKFLOW", file)

    (error,) = DagBag(FILE).import_errors.values()

    assert f"{file}: source.type is mysql: write mlflow" in error
