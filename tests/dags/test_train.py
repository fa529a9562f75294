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
