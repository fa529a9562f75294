import json
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include import settings


def test_it_is_paused_until_there_is_a_server(dag: DAG) -> None:
    assert dag.is_paused_upon_creation is True


def test_a_refused_setting_is_an_import_error_of_the_dag(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps({"source": {"type": "mysql"}}))
    monkeypatch.setattr(settings, "OPENMETADATA_WORKFLOW", file)

    (error,) = DagBag(dag.fileloc).import_errors.values()

    assert f"{file}: source.type is mysql: write mlflow" in error
