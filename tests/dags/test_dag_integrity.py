"""What holds for every DAG; needs neither a connection, nor a variable, nor a database."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule

from include.problem import PROBLEM
from include.services.alerts import alert_failure
from include.services.memory import OutOfMemoryPolicy, limit_memory
from include.settings import HEAVY_TASKS

DAGS = Path(__file__).parents[2] / "dags"
DAG_FILES = sorted(DAGS.glob("*.py"))
NAMES = [file.stem for file in DAG_FILES]
TUTORIAL = "mlflow_tutorial_dag"  # stands alone, without what the DAGs of the pipeline share
# boto3 is not among them: Airflow itself loads it to check the URI of an asset in S3.
PREDICTING = "ModelLoadAndPredictOperator"
POOL = 128  # slots of the default pool, unless it was changed
HEAVY = {"matplotlib", "mlflow", "numpy", "pandas", "pandera", "pyarrow", "scipy", "sklearn", "skops"}


@pytest.fixture(scope="module")
def dag_bag() -> DagBag:
    return DagBag(DAGS)  # here too, because this file also runs alone


@pytest.fixture(params=NAMES)
def dag(dag_bag: DagBag, request: pytest.FixtureRequest) -> DAG:
    return dag_bag.dags[request.param]


@pytest.fixture(params=[name for name in NAMES if name != TUTORIAL])
def pipeline_dag(dag_bag: DagBag, request: pytest.FixtureRequest) -> DAG:
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


def triggers(dag: DAG) -> set[Asset]:
    """Return the assets that trigger a DAG."""
    schedule = dag.schedule
    if isinstance(schedule, AssetOrTimeSchedule):
        return set(schedule.asset_condition.objects)
    return set(schedule) if isinstance(schedule, list) else set()


def outlets(dag: DAG) -> set[Asset]:
    return {asset for task in dag.tasks for asset in task.outlets}


def test_every_file_is_imported_without_error_or_warning(dag_bag: DagBag) -> None:
    assert dag_bag.import_errors == {}
    assert dag_bag.captured_warnings == {}


def test_each_file_defines_the_dag_of_its_name(dag_bag: DagBag) -> None:
    assert {dag_id: Path(dag.fileloc).stem for dag_id, dag in dag_bag.dags.items()} == {name: name for name in NAMES}


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_a_file_loads_without_heavy_library_connection_or_database(file: Path, tmp_path: Path) -> None:
    modules = load_alone(file, tmp_path)

    assert "airflow.sdk" in modules
    assert HEAVY & set(modules) == set()
    assert list(tmp_path.glob("*.db")) == []


def test_a_dag_describes_itself(dag: DAG) -> None:
    text = dag.doc_md or ""

    assert text.startswith("## ")
    assert len(text.splitlines()) > 5


def test_a_dag_runs_once_at_a_time_and_never_catches_up(dag: DAG) -> None:
    assert dag.max_active_runs == 1
    assert dag.catchup is False


def test_every_task_is_tried_again(dag: DAG) -> None:
    assert all(task.retries >= 2 for task in dag.tasks)


def test_the_retries_of_a_task_outlast_a_minute(pipeline_dag: DAG) -> None:
    """A disk that is full, or a service that is stopped, for that long fails no run."""
    for task in pipeline_dag.tasks:
        pauses = [task.retry_delay * task.retry_exponential_backoff**number for number in range(task.retries)]
        assert sum(pauses, timedelta()) > timedelta(minutes=1), task.task_id
        assert max(pauses) < task.max_retry_delay <= timedelta(minutes=10), task.task_id


def test_the_memory_of_every_task_is_limited(pipeline_dag: DAG) -> None:
    for task in pipeline_dag.tasks:
        hook = task.partial_kwargs["pre_execute"] if task.is_mapped else task._pre_execute_hook
        assert hook is limit_memory, task.task_id
        assert isinstance(task.retry_policy, OutOfMemoryPolicy), task.task_id


def test_few_mapped_tasks_fit_or_predict_at_the_same_time(dag_bag: DagBag) -> None:
    heavy = {
        "train": "tune.tune_candidate",
        "promote": "predict_holdout",
        "predict": "run_prediction",
        "predict_incoming": "predict_file.run_prediction",
    }
    for dag_id, task_id in heavy.items():
        task = dag_bag.dags[dag_id].get_task(task_id)
        assert task.max_active_tis_per_dag == HEAVY_TASKS
        assert (HEAVY_TASKS + 1) * task.pool_slots < POOL < (HEAVY_TASKS + 2) * task.pool_slots


@pytest.mark.parametrize(
    ("dag_id", "task_id", "before"),
    [
        ("rollback", "move_champion", {"choose_version", "predict_with_version"}),
        (
            "release",
            "promote_to_champion",
            {"copy_table", "copy_version", "predict_with_version", "check_version", "approve"},
        ),
    ],
)
def test_a_version_predicts_before_the_champion_changes(
    dag_bag: DagBag, dag_id: str, task_id: str, before: set[str]
) -> None:
    task = dag_bag.dags[dag_id].get_task(task_id)

    assert before <= task.get_flat_relative_ids(upstream=True)
    assert task.trigger_rule in ("all_success", "none_failed_min_one_success"), "not if a prediction failed"


def test_the_environments_of_models_are_kept_for_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.settings.MODEL_ENVIRONMENTS", "/environments")
    tasks = [task for dag in DagBag(DAGS).dags.values() for task in dag.tasks if task.task_type == PREDICTING]
    folders = [task.partial_kwargs["venv_cache_path"] if task.is_mapped else task.venv_cache_path for task in tasks]

    assert len(folders) >= 4
    assert set(map(str, folders)) == {"/environments"}


def test_every_task_has_a_timeout(dag: DAG) -> None:
    waits_for_a_person = {"approve"}  # as long as the form says
    assert {task.task_id for task in dag.tasks if not task.execution_timeout} <= waits_for_a_person


def test_tags_and_owner_name_the_problem(pipeline_dag: DAG) -> None:
    assert PROBLEM.name in pipeline_dag.tags
    assert len(pipeline_dag.tags) == 2
    assert {task.owner for task in pipeline_dag.tasks} == {f"{PROBLEM.name}-team"}


def test_a_failed_task_and_a_late_run_send_an_alert(pipeline_dag: DAG) -> None:
    callbacks = [task.on_failure_callback for task in pipeline_dag.tasks]  # a mapped task has no list of them
    assert {tuple(found) if isinstance(found, list) else (found,) for found in callbacks} == {(alert_failure,)}
    (deadline,) = pipeline_dag.deadline or []
    assert deadline.interval >= timedelta(hours=1)
    assert deadline.callback.path == "include.services.alerts.alert_missed_deadline"


def test_a_dag_begins_with_start_and_ends_with_end(pipeline_dag: DAG) -> None:
    assert [task.task_id for task in pipeline_dag.roots] == ["start"]
    assert [task.task_id for task in pipeline_dag.leaves if not task.is_teardown] == ["end"]


def test_every_asset_that_triggers_a_dag_is_written_by_a_task_or_watched(dag_bag: DagBag) -> None:
    written = {asset for dag in dag_bag.dags.values() for asset in outlets(dag)}

    for dag in dag_bag.dags.values():
        assert [asset.name for asset in triggers(dag) - written if not asset.watchers] == [], dag.dag_id


def test_no_dag_triggers_itself_through_others_and_only_promote_goes_through_its_own_queue(dag_bag: DagBag) -> None:
    def reached(asset: Asset) -> Iterator[str]:
        for consumer in (dag for dag in dag_bag.dags.values() if asset in triggers(dag)):
            yield consumer.dag_id
            for written in outlets(consumer) - triggers(consumer):
                yield from reached(written)

    assert [dag_id for dag_id, dag in dag_bag.dags.items() if outlets(dag) & triggers(dag)] == ["promote"]
    for dag in dag_bag.dags.values():
        assert dag.dag_id not in {dag_id for asset in outlets(dag) - triggers(dag) for dag_id in reached(asset)}
