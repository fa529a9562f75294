from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DownstreamTasksSkipped
from airflow.providers.standard.operators import hitl
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskAwaitingInput

from include.services.approval import ApprovalBranchOperator, is_required

ANN = {"id": "1", "name": "ann"}


@pytest.mark.parametrize(
    ("by_form", "variable", "required"),
    [(False, "false", False), (True, "false", True), (False, "true", True), (False, "True\n", True)],
)
def test_form_or_variable_require_an_approval(
    monkeypatch: pytest.MonkeyPatch, by_form: bool, variable: str, required: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ASK_BEFORE_PROMOTION", variable)

    assert is_required(by_form) is required


def test_without_the_variable_no_approval_is_required() -> None:
    assert not is_required(by_form=False)


@pytest.fixture
def approve() -> ApprovalBranchOperator:
    with DAG("approvals", schedule=None):
        approve = ApprovalBranchOperator(task_id="approve", subject="?", approved="go", rejected="stay")
        approve >> [EmptyOperator(task_id="go"), EmptyOperator(task_id="stay")]
    return approve


@pytest.mark.parametrize(
    ("option", "by", "skipped"), [("Approve", ANN, "stay"), ("Reject", ANN, "go"), ("Reject", None, "go")]
)
def test_a_response_leads_to_its_branch_and_is_kept_though_branching_ends_the_task(
    approve: ApprovalBranchOperator, option: str, by: dict[str, str] | None, skipped: str
) -> None:
    kept: dict[str, Any] = {}
    event = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": by}
    ti: Any = SimpleNamespace(task=approve, map_index=-1, xcom_push=lambda key, value: kept.update({key: value}))

    with pytest.raises(DownstreamTasksSkipped) as caught:
        approve.execute_complete({"ti": ti}, event)  # type: ignore[arg-type]

    assert [task if isinstance(task, str) else task[0] for task in caught.value.tasks] == [skipped]
    assert kept["return_value"] == {"chosen_options": [option], "responded_by_user": by}


def test_it_waits_for_the_minutes_of_the_form_and_rejects_then(
    approve: ApprovalBranchOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **request: asked.update(request))

    with pytest.raises(TaskAwaitingInput) as waiting:
        approve.execute({"params": {"approval_minutes": 7}, "task_instance": SimpleNamespace(id="ti")})  # type: ignore[arg-type]

    assert waiting.value.timeout == timedelta(minutes=7)
    assert asked["defaults"] == ["Reject"]
