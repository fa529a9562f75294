from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from include import config


def test_the_graph(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "create_buckets_if_not_exists": {"create_experiment"},
        "create_experiment": {"scale_features"},
        "scale_features": {"create_registered_model"},
        "create_registered_model": set(),
    }


def test_it_runs_when_someone_triggers_it(dag: DAG) -> None:
    assert dag.schedule is None
    assert dag.catchup is False
    assert dag.tags == {"mlflow", "tutorial"}


def test_its_text_names_every_task_and_a_page_that_is_there(dag: DAG) -> None:
    text = dag.doc_md or ""
    assert text.startswith("## ")
    assert [task.task_id for task in dag.tasks if f"`{task.task_id}`" not in text] == []
    (page,) = re.findall(r"`(docs/\S+\.md)`", text)
    assert (Path(dag.fileloc).parents[1] / page).exists()


def test_it_needs_no_other_module_of_the_project_than_the_provider(dag: DAG) -> None:
    modules = re.findall(r"(?:from|import) (include\S*)", Path(dag.fileloc).read_text())
    assert modules
    assert [module for module in modules if not module.startswith("include.mlflow_provider.")] == []


def test_the_buckets_are_those_of_the_project(dag: DAG) -> None:
    task: Any = dag.get_task("create_buckets_if_not_exists")
    assert task.expand_input.value == {"bucket_name": [config.ARTIFACT_BUCKET, config.XCOM_BUCKET]}


def test_a_model_that_exists_is_no_failure(dag: DAG) -> None:
    task: Any = dag.get_task("create_registered_model")
    assert task.exist_ok


def test_a_task_is_tried_again_and_does_not_run_forever(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries == 2, task.task_id
        assert task.execution_timeout == timedelta(minutes=10), task.task_id


@pytest.mark.parametrize("name", ["experiment", "model"])
def test_the_form_wants_a_name(dag: DAG, name: str) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve("")
