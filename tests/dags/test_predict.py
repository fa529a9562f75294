from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from include import config
from include.platform import versions
from include.platform.assets import MODEL_EVALUATED, PREDICTIONS

TRAINED = {"run_id": "r1", "version": "3", "features_uri": "s3://data/features/1.parquet"}


def test_the_graph(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"fetch_feature_df_no_target", "fetch_target", "fetch_model_run_id"},
        "fetch_feature_df_no_target": {"run_prediction", "save_predictions"},
        "fetch_target": {"plot_predictions", "save_predictions"},
        "fetch_model_run_id": {"add_line_to_file", "plot_predictions", "save_predictions"},
        "add_line_to_file": {"run_prediction"},
        "run_prediction": {"plot_predictions", "save_predictions"},
        "plot_predictions": {"end"},
        "save_predictions": {"end"},
        "end": set(),
    }


def test_it_runs_when_a_model_has_been_trained(dag: DAG) -> None:
    assert dag.schedule == [MODEL_EVALUATED]


def test_every_task_that_reads_the_announcement_names_it_as_its_inlet(dag: DAG) -> None:
    assert {task.task_id for task in dag.tasks if task.inlets == [MODEL_EVALUATED]} == {
        "fetch_feature_df_no_target",
        "fetch_target",
        "fetch_model_run_id",
    }


def test_the_task_that_saves_the_predictions_announces_them(dag: DAG) -> None:
    assert {task.task_id: task.outlets for task in dag.tasks if task.outlets} == {"save_predictions": [PREDICTIONS]}


def test_the_version_just_trained_is_used_if_there_is_no_champion(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    event, asked = SimpleNamespace(extra=TRAINED), {}
    monkeypatch.setattr(versions, "pin_version", lambda hook, otherwise: asked.update(otherwise=otherwise))

    dag.get_task("fetch_model_run_id").python_callable(
        triggering_asset_events={MODEL_EVALUATED: [event]}, inlet_events={}
    )

    assert asked == {"otherwise": "3"}


def test_the_predictions_lie_under_their_run(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")
    environment = dag.get_template_env()

    uri = environment.from_string(task.output_uri).render(**dag.user_defined_macros, run_id="manual__1")

    assert uri == "s3://data/predictions/manual__1/predicted.parquet"


def test_the_prediction_takes_model_and_rows_from_the_tasks_before_it(dag: DAG) -> None:
    task: Any = dag.get_task("run_prediction")
    pulled = {"fetch_model_run_id": {"uri": "models:/a/3"}, "fetch_feature_df_no_target": "s3://data/possums.parquet"}
    ti = SimpleNamespace(xcom_pull=pulled.get)

    rendered = [dag.get_template_env().from_string(text).render(ti=ti) for text in (task.model_uri, task.data)]

    assert rendered == ["models:/a/3", "s3://data/possums.parquet"]


def test_the_models_environment_is_kept_for_the_next_run(dag: DAG) -> None:
    assert dag.get_task("run_prediction").venv_cache_path == config.MODEL_ENVIRONMENTS
