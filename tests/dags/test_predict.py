from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG

from include.services.assets import MODEL_EVALUATED, PREDICTIONS
from include.settings import MODEL_ENVIRONMENTS


def test_the_predictions_are_written_to_the_runs_own_folder(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")
    environment = dag.get_template_env()

    uri = environment.from_string(task.output_uri).render(**dag.user_defined_macros, run_id="manual__1")

    assert uri == f"{PREDICTIONS.uri.rstrip('/')}/manual__1/predicted.parquet"


def test_the_prediction_takes_model_and_rows_from_the_tasks_before_it(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")
    pulled = {"fetch_model_run_id": {"uri": "models:/a/3"}, "fetch_feature_df_no_target": "s3://data/rows.parquet"}
    ti = SimpleNamespace(xcom_pull=pulled.get)

    rendered = [dag.get_template_env().from_string(text).render(ti=ti) for text in (task.model_uri, task.data)]

    assert rendered == ["models:/a/3", "s3://data/rows.parquet"]
    assert set(pulled) <= task.get_flat_relative_ids(upstream=True)


def test_one_task_chooses_rows_and_model(dag: DAG) -> None:
    choosing = {task.task_id for task in dag.tasks if MODEL_EVALUATED in task.inlets}

    assert choosing == {"fetch_model_run_id"}
    assert {"fetch_feature_df_no_target", "fetch_target"} <= dag.get_task("fetch_model_run_id").downstream_task_ids


def test_the_models_environment_is_kept_for_the_next_run(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")
    assert task.venv_cache_path == MODEL_ENVIRONMENTS
