from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from include.model import candidates
from include.platform.assets import FEATURES, MODEL_TRAINED


def test_the_graph(dag: DAG) -> None:
    register = "register_model"

    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"fetch_feature_df", "fetch_experiment_id"},
        "fetch_feature_df": {"tune.create_scratch", "tune.list_candidates", "train_model"},
        "fetch_experiment_id": {"tune.create_scratch", "train_model"},
        "tune.create_scratch": {"tune.tune_candidate", "tune.delete_scratch"},
        "tune.list_candidates": {"tune.tune_candidate", "tune.select_candidate"},
        "tune.tune_candidate": {"tune.select_candidate"},
        "tune.select_candidate": {"train_model", "tune.delete_scratch"},
        "tune.delete_scratch": set(),
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


def test_it_runs_when_there_are_new_features(dag: DAG) -> None:
    assert dag.schedule == [FEATURES]
    assert dag.get_task("fetch_feature_df").inlets == [FEATURES]


def test_its_last_task_announces_the_model(dag: DAG) -> None:
    assert {task.task_id: task.outlets for task in dag.tasks if task.outlets} == {"end": [MODEL_TRAINED]}


def test_the_announcement_leads_to_version_run_and_features(dag: DAG) -> None:
    event = SimpleNamespace(extra={})
    tags = [{"key": "source", "value": "x"}, {"key": "features_uri", "value": "s3://data/features/1.parquet"}]
    version = {"name": "Reg_RidgeCV_possums", "version": "3", "run_id": "r1", "tags": tags}

    task: Any = dag.get_task("end")
    task.python_callable({"model_version": version}, outlet_events={MODEL_TRAINED: event})

    assert event.extra == {"version": "3", "run_id": "r1", "features_uri": "s3://data/features/1.parquet"}


def test_the_version_remembers_its_features_and_the_hash_of_its_files(dag: DAG) -> None:
    task: Any = dag.get_task("register_model.create_model_version")

    assert "tags" in task.template_fields
    assert {tag["key"]: tag["value"].key for tag in task.tags} == {
        "features_uri": "features_uri",
        "artifact_sha256": "artifact_sha256",
    }


def test_all_candidates_are_tried_unless_given(dag: DAG) -> None:
    assert dag.params.dump() == {"candidates": {}}


@pytest.mark.parametrize("given", ["RidgeCV", [1, 2], None, {"RidgeCV": [0.1]}, {"RidgeCV": None}])
def test_candidates_that_are_no_names_with_grids_are_refused(dag: DAG, given: object) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param("candidates").resolve(given)


def test_candidates_may_be_given_with_grids(dag: DAG) -> None:
    given = {"RidgeCV": {}, "ElasticNet": {"alpha": [0.1, 1]}}

    assert dag.params.get_param("candidates").resolve(given) == given


def test_the_form_shows_the_candidates_that_there_are(dag: DAG) -> None:
    description = dag.params.get_param("candidates").schema["description_md"]

    assert all(f'{{"{name}": {{' in description for name in candidates.NAMES)


@pytest.mark.parametrize("chosen", [{"Lasso": {}}, {"ElasticNet": {"alhpa": [1]}}])
def test_what_does_not_exist_is_refused_without_another_try(dag: DAG, chosen: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=r"there are RidgeCV|it has alpha"):
        dag.get_task("tune.list_candidates").python_callable("s3://data/1.parquet", {"candidates": chosen})


def test_each_candidate_is_a_task_that_the_ui_calls_by_its_name(dag: DAG) -> None:
    task: Any = dag.get_task("tune.tune_candidate")
    template = dag.get_template_env().from_string(task.partial_kwargs["map_index_template"])

    assert set(task.op_kwargs_expand_input.value) == {"candidate"}
    assert template.render(task=SimpleNamespace(op_kwargs={"candidate": {"name": "RidgeCV"}})) == "RidgeCV"


def test_the_choice_is_made_whatever_became_of_the_candidates(dag: DAG) -> None:
    assert dag.get_task("tune.select_candidate").trigger_rule == "all_done"


@pytest.mark.parametrize("listed", [None, []])
def test_without_candidates_there_is_no_choice_and_no_other_try(dag: DAG, listed: list | None) -> None:
    with pytest.raises(AirflowFailException, match="a task before this one failed"):
        dag.get_task("tune.select_candidate").python_callable(listed, SimpleNamespace(xcom_pull=lambda task_id: {}))


def test_the_scratch_folder_is_deleted_once_the_choice_is_made_or_cannot_be(dag: DAG) -> None:
    create, delete = dag.get_task("tune.create_scratch"), dag.get_task("tune.delete_scratch")

    assert create.is_setup
    assert delete.is_teardown
    assert delete.trigger_rule == "all_done_setup_success"
    assert delete.on_failure_fail_dagrun is False


def test_the_registered_model_is_named_and_tagged(dag: DAG) -> None:
    task: Any = dag.get_task("register_model.create_registered_model")

    assert task.name == "Reg_RidgeCV_possums"
    assert {tag["key"]: tag["value"] for tag in task.tags} == {"model_type": "regression", "data": "possum"}


def test_a_version_is_made_on_either_branch(dag: DAG) -> None:
    task: Any = dag.get_task("register_model.create_model_version")

    assert task.trigger_rule == "none_failed_min_one_success"
    assert task.name == "Reg_RidgeCV_possums"


def test_a_task_that_registers_may_run_twice(dag: DAG) -> None:
    names = ["register_model.create_registered_model", "register_model.create_model_version"]

    assert [dag.get_task(name).exist_ok for name in names] == [True, True]


def test_the_version_goes_to_staging_as_challenger_and_older_ones_to_the_archive(dag: DAG) -> None:
    task: Any = dag.get_task("register_model.transition_model")

    assert (task.name, task.stage, task.alias) == ("Reg_RidgeCV_possums", "Staging", "challenger")
    assert task.archive_existing_versions is True
