"""What holds for every DAG; needs neither a connection, nor a variable, nor a database."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.platform.alerts import tell_of_failure

DAGS = Path(__file__).parents[2] / "dags"
DAG_FILES = sorted(DAGS.glob("*.py"))
# boto3 is not among them: Airflow itself loads it to check the URI of an asset in S3.
HEAVY = {"matplotlib", "mlflow", "numpy", "pandas", "pandera", "pyarrow", "scipy", "sklearn", "skops"}


@pytest.fixture(scope="module")
def dag_bag() -> DagBag:
    return DagBag(DAGS)


# The tutorial's DAG stands alone, without what the possum DAGs share: see test_mlflow_tutorial_dag.py.
NAMES = [
    *("feature_eng", "train", "promote", "predict", "rollback"),
    *("predict_incoming", "monitor", "openmetadata_mlflow"),
]


@pytest.fixture(params=NAMES)
def dag(dag_bag: DagBag, request: pytest.FixtureRequest) -> DAG:
    return dag_bag.dags[request.param]


def load_alone(file: Path, airflow_home: Path) -> list[str]:
    """Run a DAG file in a fresh process that knows no connection; return the modules that it loads."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS", "MLFLOW"))
    }
    environment |= {"AIRFLOW_HOME": str(airflow_home), "PYTHONPATH": str(DAGS.parent)}
    program = "import runpy, sys; runpy.run_path(sys.argv[1]); print('loaded:', *sys.modules)"
    command = [sys.executable, "-c", program, str(file)]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return output.partition("loaded:")[2].split()


def test_every_file_is_imported_without_error_or_warning(dag_bag: DagBag) -> None:
    assert dag_bag.import_errors == {}
    assert dag_bag.captured_warnings == {}


def test_there_is_one_dag_a_file(dag_bag: DagBag) -> None:
    assert {dag_id: Path(dag.fileloc).name for dag_id, dag in dag_bag.dags.items()} == {
        "feature_eng": "feature_eng.py",
        "train": "train.py",
        "predict": "predict.py",
        "promote": "promote.py",
        "rollback": "rollback.py",
        "predict_incoming": "predict_incoming.py",
        "monitor": "monitor.py",
        "mlflow_tutorial_dag": "mlflow_tutorial_dag.py",
        "openmetadata_mlflow": "openmetadata_mlflow.py",
    }


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_a_file_loads_without_heavy_library_connection_or_database(file: Path, tmp_path: Path) -> None:
    modules = load_alone(file, tmp_path)

    assert "airflow.sdk" in modules
    assert HEAVY & set(modules) == set()
    assert list(tmp_path.glob("*.db")) == []


def test_a_dag_explains_itself(dag: DAG) -> None:
    assert dag.doc_md is not None
    assert dag.doc_md.startswith("## ")
    assert len(dag.doc_md.splitlines()) > 5


def test_a_dag_is_found_by_its_tags(dag: DAG) -> None:
    assert "possums" in dag.tags
    assert len(dag.tags) == 2


def test_a_dag_runs_once_at_a_time_and_never_catches_up(dag: DAG) -> None:
    assert dag.max_active_runs == 1
    assert dag.catchup is False


def test_every_task_has_the_teams_name_on_it(dag: DAG) -> None:
    assert {task.owner for task in dag.tasks} == {"possum-team"}


def test_every_task_is_tried_three_times_with_growing_pauses_up_to_a_limit(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries == 2, task.task_id
        assert task.retry_exponential_backoff > 1, task.task_id
        assert timedelta(0) < task.retry_delay < task.max_retry_delay <= timedelta(minutes=10), task.task_id


def test_no_task_runs_forever(dag: DAG) -> None:
    waits_for_a_person = {"approve"}  # as long as the form says
    assert {task.task_id for task in dag.tasks if not task.execution_timeout} <= waits_for_a_person


def test_a_task_that_fails_for_good_and_a_run_that_is_late_are_told(dag: DAG) -> None:
    callbacks = [task.on_failure_callback for task in dag.tasks]  # a mapped task has no list of them
    assert {tuple(found) if isinstance(found, list) else (found,) for found in callbacks} == {(tell_of_failure,)}
    (deadline,) = dag.deadline or []
    assert deadline.interval >= timedelta(hours=1)
    assert deadline.callback.path == "include.platform.alerts.tell_of_missed_deadline"


def test_a_dag_begins_with_start_and_ends_with_end(dag: DAG) -> None:
    assert [task.task_id for task in dag.roots] == ["start"]
    assert [task.task_id for task in dag.leaves if not task.is_teardown] == ["end"]
