from __future__ import annotations

from airflow.sdk import DAG


def test_the_version_predicts_before_the_champion_changes(dag: DAG) -> None:
    move = dag.get_task("move_champion")

    assert {"choose_version", "predict_with_version"} <= move.upstream_task_ids
    assert move.trigger_rule == "all_success"
