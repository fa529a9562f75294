from typing import Any

from airflow.sdk import DAG


def test_the_version_has_tags_for_its_features_the_hash_of_its_files_and_the_run(dag: DAG) -> None:
    task: Any = dag.get_task("register_model.create_model_version")

    assert "tags" in task.template_fields
    assert {tag["key"]: getattr(tag["value"], "key", tag["value"]) for tag in task.tags} == {
        "features_uri": "features_uri",
        "artifact_sha256": "artifact_sha256",
        "airflow.dag_run_id": "{{ run_id }}",
    }


def test_a_table_that_has_a_version_already_skips_every_task_that_needs_it(dag: DAG) -> None:
    fetch: Any = dag.get_task("fetch_feature_df")

    assert fetch.ignore_downstream_trigger_rules
    assert {task.task_id for task in dag.tasks} - fetch.get_flat_relative_ids(upstream=False) == {
        "start",
        "fetch_feature_df",
        "fetch_experiment_id",
    }


def test_a_failed_candidate_leaves_the_choice_to_the_others(dag: DAG) -> None:
    assert dag.get_task("tune.select_candidate").trigger_rule == "all_done"


def test_the_scratch_folder_is_deleted_after_success_and_failure(dag: DAG) -> None:
    create, delete = dag.get_task("tune.create_scratch"), dag.get_task("tune.delete_scratch")

    assert create.is_setup
    assert delete.is_teardown
    assert delete.trigger_rule == "all_done_setup_success"
    assert delete.on_failure_fail_dagrun is False
