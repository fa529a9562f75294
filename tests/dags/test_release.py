from __future__ import annotations

from airflow.sdk import DAG


def test_the_alias_moves_after_the_version_has_predicted_here(dag: DAG) -> None:
    before = dag.get_task("promote_to_champion").get_flat_relative_ids(upstream=True)

    assert {"copy_table", "copy_version", "predict_with_version", "check_version", "approve"} <= before
