from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from include.problem import PROBLEM
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


@pytest.mark.parametrize("task_id", ["promote_to_champion", "keep_challenger", "write_model_card"])
def test_the_tasks_after_a_branch_run_unless_one_before_them_failed(dag: DAG, task_id: str) -> None:
    assert dag.get_task(task_id).trigger_rule == "none_failed_min_one_success"


def test_the_form_has_the_limits_of_the_problem_and_requires_no_approval(dag: DAG) -> None:
    params, gate = dag.params.dump(), PROBLEM.gate

    assert {field.name: params[field.name] for field in fields(gate)} == {
        field.name: getattr(gate, field.name) for field in fields(gate)
    }
    assert params["approval"] is False
    assert params["version"] is None


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
        ("version", "three"),
        ("version", 3),
    ],
)
def test_the_form_rejects_impossible_values(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


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


def test_too_few_rows_to_predict_are_a_verdict_too(dag: DAG) -> None:
    assert dag.get_task("evaluate_challenger").trigger_rule == "none_failed"


def test_no_response_counts_as_a_rejection(dag: DAG) -> None:
    approve: Any = dag.get_task("approve")

    assert approve.defaults == ["Reject"]
    assert approve.branches == {"Approve": "promote_to_champion", "Reject": "keep_challenger"}
    assert set(approve.branches.values()) == approve.downstream_task_ids
    assert approve.execution_timeout is None
