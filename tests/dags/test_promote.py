from typing import Any

import pytest
from airflow.sdk import DAG

from include.services.assets import MODEL_TRAINED


@pytest.mark.parametrize(
    ("passed", "approval", "branch"),
    [
        (True, False, "promote_to_champion"),
        (True, True, "approve"),
        (False, False, "keep_challenger"),
        (False, True, "keep_challenger"),
    ],
)
def test_the_gate_and_the_form_choose_the_branch(dag: DAG, passed: bool, approval: bool, branch: str) -> None:
    task: Any = dag.get_task("check_gate")

    assert task.python_callable({"passed": passed}, {"approval": approval}) == branch
    assert branch in task.downstream_task_ids


def test_too_few_rows_to_predict_are_a_verdict_too(dag: DAG) -> None:
    assert dag.get_task("evaluate_challenger").trigger_rule == "none_failed"


def test_the_next_run_is_announced_at_the_end_of_a_run_however_it_ends(dag: DAG) -> None:
    hand_over: Any = dag.get_task("hand_over")

    assert hand_over.is_teardown
    assert hand_over.outlets == [MODEL_TRAINED]
    assert hand_over.on_failure_fail_dagrun is False
    assert {task.task_id for task in dag.tasks} - hand_over.get_flat_relative_ids(upstream=True) == {"hand_over", "end"}


def test_without_a_version_to_judge_every_other_task_is_skipped(dag: DAG) -> None:
    choose: Any = dag.get_task("choose_version")

    assert choose.ignore_downstream_trigger_rules
    assert {task.task_id for task in dag.tasks} - choose.get_flat_relative_ids(upstream=False) == {
        "start",
        "choose_version",
    }


def test_no_response_counts_as_a_rejection(dag: DAG) -> None:
    approve: Any = dag.get_task("approve")

    assert approve.defaults == ["Reject"]
    assert approve.branches == {"Approve": "promote_to_champion", "Reject": "keep_challenger"}
    assert set(approve.branches.values()) == approve.downstream_task_ids
    assert approve.execution_timeout is None
