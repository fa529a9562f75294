from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from include.assets import FEATURES, MODEL_TRAINED

DAG_FILE = Path(__file__).parents[2] / "dags" / "train.py"


@pytest.fixture(scope="module")
def train() -> DAG:
    return DagBag(DAG_FILE).dags["train"]


def test_the_graph(train: DAG) -> None:
    register = "register_model"

    assert {task.task_id: task.downstream_task_ids for task in train.tasks} == {
        "start": {"fetch_feature_df", "fetch_experiment_id"},
        "fetch_feature_df": {"train_model"},
        "fetch_experiment_id": {"train_model"},
        "train_model": {f"{register}.check_if_model_already_registered", f"{register}.create_model_version"},
        f"{register}.check_if_model_already_registered": {
            f"{register}.create_registered_model",
            f"{register}.model_already_registered",
        },
        f"{register}.create_registered_model": {f"{register}.create_model_version"},
        f"{register}.model_already_registered": {f"{register}.create_model_version"},
        f"{register}.create_model_version": {f"{register}.transition_model"},
        f"{register}.transition_model": {"end"},
        "end": set(),
    }


def test_it_runs_when_there_are_new_features(train: DAG) -> None:
    assert train.schedule == [FEATURES]
    assert train.get_task("fetch_feature_df").inlets == [FEATURES]


def test_its_last_task_announces_the_model(train: DAG) -> None:
    assert {task.task_id: task.outlets for task in train.tasks if task.outlets} == {"end": [MODEL_TRAINED]}


def test_the_announcement_leads_to_version_run_and_features(train: DAG) -> None:
    event = SimpleNamespace(extra={})
    tags = [{"key": "source", "value": "x"}, {"key": "features_uri", "value": "s3://data/features/1.parquet"}]
    version = {"name": "Reg_RidgeCV_possums", "version": "3", "run_id": "r1", "tags": tags}

    task: Any = train.get_task("end")
    task.python_callable({"model_version": version}, outlet_events={MODEL_TRAINED: event})

    assert event.extra == {"version": "3", "run_id": "r1", "features_uri": "s3://data/features/1.parquet"}


def test_the_version_remembers_the_features_that_it_was_trained_from(train: DAG) -> None:
    task: Any = train.get_task("register_model.create_model_version")
    trained = {"run_id": "r1", "model_uri": "models:/m-1", "features_uri": "s3://data/features/1.parquet"}

    (tag,) = task.tags

    assert "tags" in task.template_fields
    assert tag["key"] == "features_uri"
    assert trained[tag["value"].key] == "s3://data/features/1.parquet"


def test_hyper_parameters_are_none_unless_given(train: DAG) -> None:
    assert train.params.dump() == {"hyper_parameters": {}}


@pytest.mark.parametrize("given", ["alphas", [1, 2], None])
def test_hyper_parameters_that_are_no_names_with_values_are_refused(train: DAG, given: object) -> None:
    with pytest.raises(ParamValidationError):
        train.params.get_param("hyper_parameters").resolve(given)


def test_any_hyper_parameter_may_be_given(train: DAG) -> None:
    given = {"alphas": [0.1, 1], "fit_intercept": False}

    assert train.params.get_param("hyper_parameters").resolve(given) == given


def test_the_registered_model_is_named_and_tagged(train: DAG) -> None:
    task: Any = train.get_task("register_model.create_registered_model")

    assert task.name == "Reg_RidgeCV_possums"
    assert {tag["key"]: tag["value"] for tag in task.tags} == {"model_type": "regression", "data": "possum"}


def test_a_version_is_made_on_either_branch(train: DAG) -> None:
    task: Any = train.get_task("register_model.create_model_version")

    assert task.trigger_rule == "none_failed_min_one_success"
    assert task.name == "Reg_RidgeCV_possums"


def test_a_task_that_registers_may_run_twice(train: DAG) -> None:
    names = ["register_model.create_registered_model", "register_model.create_model_version"]

    assert [train.get_task(name).exist_ok for name in names] == [True, True]


def test_the_version_goes_to_staging_as_challenger_and_older_ones_to_the_archive(train: DAG) -> None:
    task: Any = train.get_task("register_model.transition_model")

    assert (task.name, task.stage, task.alias) == ("Reg_RidgeCV_possums", "Staging", "challenger")
    assert task.archive_existing_versions is True
