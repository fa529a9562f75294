from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DownstreamTasksSkipped
from airflow.providers.standard.operators import hitl
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskAwaitingInput

from include.platform.approval import ApprovalBranchOperator, describe_answer, is_wanted

ANN = {"id": "1", "name": "ann"}


@pytest.mark.parametrize(
    ("by_the_form", "variable", "wanted"),
    [(False, "false", False), (True, "false", True), (False, "true", True), (False, "True\n", True)],
)
def test_form_or_variable_ask_for_a_person(
    monkeypatch: pytest.MonkeyPatch, by_the_form: bool, variable: str, wanted: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ASK_BEFORE_PROMOTION", variable)

    assert is_wanted(by_the_form) is wanted


def test_nobody_is_asked_as_long_as_there_is_no_variable() -> None:
    assert not is_wanted(by_the_form=False)


@pytest.fixture
def approve() -> ApprovalBranchOperator:
    with DAG("approvals", schedule=None):
        approve = ApprovalBranchOperator(
            task_id="approve", subject="?", approved="go", rejected="stay", minutes_param="minutes"
        )
        approve >> [EmptyOperator(task_id="go"), EmptyOperator(task_id="stay")]
    return approve


def respond(
    approve: ApprovalBranchOperator, option: str, by: dict[str, str] | None
) -> tuple[list[str], dict[str, Any]]:
    """Answer, and return the tasks that are skipped, and the XComs."""
    kept: dict[str, Any] = {}
    event = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": by}
    ti: Any = SimpleNamespace(task=approve, map_index=-1, xcom_push=lambda key, value: kept.update({key: value}))
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        approve.execute_complete({"ti": ti}, event)  # type: ignore[arg-type]
    return [task if isinstance(task, str) else task[0] for task in skipped.value.tasks], kept


@pytest.mark.parametrize(("option", "skipped"), [("Approve", "stay"), ("Reject", "go")])
def test_an_answer_leads_to_its_branch(approve: ApprovalBranchOperator, option: str, skipped: str) -> None:
    assert respond(approve, option, ANN)[0] == [skipped]


@pytest.mark.parametrize(("option", "by"), [("Approve", ANN), ("Reject", ANN), ("Reject", None)])
def test_an_answer_is_kept_though_branching_ends_the_task(
    approve: ApprovalBranchOperator, option: str, by: dict[str, str] | None
) -> None:
    answer = respond(approve, option, by)[1]["return_value"]

    assert answer == {"chosen_options": [option], "responded_by_user": by}


def test_it_waits_as_long_as_the_form_says(approve: ApprovalBranchOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **request: asked.update(request))

    with pytest.raises(TaskAwaitingInput) as waiting:
        approve.execute({"params": {"minutes": 7}, "task_instance": SimpleNamespace(id="ti")})  # type: ignore[arg-type]

    assert waiting.value.timeout == timedelta(minutes=7)
    assert asked["defaults"] == ["Reject"]


@pytest.mark.parametrize(
    ("answer", "described"),
    [
        (None, ("the gate", "")),
        ({"chosen_options": ["Approve"], "responded_by_user": ANN}, ("ann", "ann approved it")),
        ({"chosen_options": ["Reject"], "responded_by_user": ANN}, ("ann", "ann rejected it")),
        ({"chosen_options": ["Reject"], "responded_by_user": None}, ("nobody", "nobody approved it in time")),
    ],
)
def test_who_answered_and_what(answer: dict[str, Any] | None, described: tuple[str, str]) -> None:
    assert describe_answer(answer) == described
