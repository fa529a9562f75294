"""A person's approval before a promotion."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context, Variable

VARIABLE = "ask_before_promotion"  # Airflow variable; "true" asks in every run


def is_required(by_form: bool) -> bool:
    """Return whether a person must approve."""
    return by_form or str(Variable.get(VARIABLE, default="false")).strip().lower() == "true"


class ApprovalBranchOperator(ApprovalOperator, BranchMixIn):
    """Waits for a person's approval, and branches: to one task if approved, to another if rejected or timed out.

    ``ApprovalOperator`` skips everything after a rejection; here the task that records it follows.

    :param approved: id of the task that follows an approval
    :param rejected: id of the task that follows a rejection, or no answer in time: the DAG's param ``approval_minutes``
    """

    inherits_from_skipmixin = True

    def __init__(self, *, approved: str, rejected: str, **kwargs: Any) -> None:
        # execution_timeout would limit the time to respond.
        super().__init__(defaults=self.REJECT, **{**kwargs, "execution_timeout": None})
        self.branches = {self.APPROVE: approved, self.REJECT: rejected}

    def execute(self, context: Context) -> None:
        """Request approval and defer, without holding a worker slot."""
        self.response_timeout = timedelta(minutes=context["params"]["approval_minutes"])
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Branch by the response."""
        response = HITLOperator.execute_complete(self, context, event)
        # Branching ends the task with an exception, so that Airflow would not keep a returned value.
        kept = {name: response[name] for name in ("chosen_options", "responded_by_user")}
        context["ti"].xcom_push(key="return_value", value=kept)
        self.do_branch(context, self.branches[response["chosen_options"][0]])


def describe_response(response: dict[str, Any] | None) -> tuple[str, str]:
    """Return who decided, and the decision in words (empty if no approval was required).

    :param response: the XCom of :class:`ApprovalBranchOperator`, or None if approval was not required
    """
    if response is None:
        return "the gate", ""
    person = (response.get("responded_by_user") or {}).get("name")
    if person is None:
        return "timeout", "not approved in time"
    verb = "approved" if response["chosen_options"] == [ApprovalOperator.APPROVE] else "rejected"
    return person, f"{verb} by {person}"
