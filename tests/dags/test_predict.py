from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from include.services.assets import MODEL_EVALUATED
from include.settings import MODEL_ENVIRONMENTS


def test_a_task_predicts_each_part_with_the_model_that_was_chosen(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")

    assert task.partial_kwargs["model_uri"] == "{{ ti.xcom_pull('fetch_model_run_id')['uri'] }}"
    assert task.expand_input.value.operator.task_id == "fetch_feature_df_no_target"
    assert "fetch_model_run_id" in task.get_flat_relative_ids(upstream=True)


def test_one_task_chooses_rows_and_model(dag: DAG) -> None:
    choosing = {task.task_id for task in dag.tasks if MODEL_EVALUATED in task.inlets}

    assert choosing == {"fetch_model_run_id"}
    assert {"fetch_feature_df_no_target", "fetch_target"} <= dag.get_task("fetch_model_run_id").downstream_task_ids


def test_the_models_environment_is_kept_for_the_next_run(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")
    assert task.partial_kwargs["venv_cache_path"] == MODEL_ENVIRONMENTS
