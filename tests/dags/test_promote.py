from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from include.problem import PROBLEM


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


@pytest.mark.parametrize("task_id", ["promote_to_champion", "keep_challenger", "write_model_card"])
def test_the_tasks_after_a_branch_run_unless_one_before_them_failed(dag: DAG, task_id: str) -> None:
    assert dag.get_task(task_id).trigger_rule == "none_failed_min_one_success"


def test_the_form_has_the_limits_of_the_problem_and_requires_no_approval(dag: DAG) -> None:
    params, gate = dag.params.dump(), PROBLEM.gate

    assert {field.name: params[field.name] for field in fields(gate)} == {
        field.name: getattr(gate, field.name) for field in fields(gate)
    }
    assert params["approval"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("margin", -0.1),
        ("confidence", 1),
        ("confidence", 0.5),
        ("max_rmse", 0),
        ("subgroup_max_rmse", {"a column that there is not": 2}),
        *[("subgroup_max_rmse", {column: limit}) for column in PROBLEM.categories[:1] for limit in ("2", 0)],
        ("approval", "yes"),
        ("approval_minutes", 0),
    ],
)
def test_the_form_rejects_impossible_values(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


def test_no_response_counts_as_a_rejection(dag: DAG) -> None:
    approve: Any = dag.get_task("approve")

    assert approve.defaults == ["Reject"]
    assert approve.branches == {"Approve": "promote_to_champion", "Reject": "keep_challenger"}
    assert set(approve.branches.values()) == approve.downstream_task_ids
    assert approve.execution_timeout is None
