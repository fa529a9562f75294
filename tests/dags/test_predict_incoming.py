from __future__ import annotations

from types import SimpleNamespace

from airflow.sdk import DAG

from include import config
from include.platform.assets import INCOMING, PREDICTIONS


def test_the_graph(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"claim_files", "choose_model"},
        "claim_files": {"predict_file.check_rows", "predict_file.save_predictions"},
        "choose_model": {"predict_file.save_predictions", "predict_file.run_prediction"},
        "predict_file.check_rows": {"predict_file.run_prediction", "predict_file.save_predictions"},
        "predict_file.run_prediction": {"predict_file.save_predictions"},
        "predict_file.save_predictions": {"end"},
        "end": set(),
    }


def test_it_runs_when_files_come_in(dag: DAG) -> None:
    assert dag.schedule == [INCOMING]


def test_a_rejected_file_does_not_stop_the_run(dag: DAG) -> None:
    assert dag.get_task("end").trigger_rule == "none_failed"


def test_every_file_is_named_in_the_pages_of_airflow(dag: DAG) -> None:
    rendered = SimpleNamespace(op_kwargs={"upload": "s3://data/processing/a.csv"}, data="s3://data/r/a.csv.parquet")

    names = {
        dag.get_template_env().from_string(task.map_index_template).render(task=rendered)
        for task in dag.tasks
        if task.task_id.startswith("predict_file.")
    }

    assert names == {"a.csv"}


def test_the_tasks_that_save_predictions_announce_them(dag: DAG) -> None:
    outlets = {task.task_id: task.outlets for task in dag.tasks if task.outlets}
    assert outlets == {"predict_file.save_predictions": [PREDICTIONS]}


def test_the_models_environment_is_kept_for_the_next_run(dag: DAG) -> None:
    assert dag.get_task("predict_file.run_prediction").venv_cache_path == config.MODEL_ENVIRONMENTS
