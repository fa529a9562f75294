from typing import Any

import pytest
from airflow.sdk import DAG


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
