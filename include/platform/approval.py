"""A person's word before a promotion."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


VARIABLE = "ask_before_promotion"  # of Airflow: true, if a person is to be asked whatever the form says


def is_wanted(by_the_form: bool) -> bool:
    """Tell whether a person is to be asked."""
    from airflow.sdk import Variable

    return by_the_form or str(Variable.get(VARIABLE, default="false")).strip().lower() == "true"


class ApprovalBranchOperator(ApprovalOperator, BranchMixIn):
    """Waits for a person, and goes on with one task if they approve and with another if not, or if time is up.

    ``ApprovalOperator`` itself skips all that follows a rejection; here a rejection is followed by the task
    that writes it down. Nobody's answer is a rejection.

    :param approved: id of the task that follows an approval
    :param rejected: id of the task that follows a rejection, or no answer
    :param minutes_param: the DAG's parameter that says how many minutes to wait
    """

    inherits_from_skipmixin = True

    def __init__(self, *, approved: str, rejected: str, minutes_param: str, **kwargs: Any) -> None:
        # execution_timeout would count as the time that the person has.
        super().__init__(defaults=self.REJECT, **{**kwargs, "execution_timeout": None})
        self.branches = {self.APPROVE: approved, self.REJECT: rejected}
        self.minutes_param = minutes_param

    def execute(self, context: Context) -> None:
        """Ask, and wait without holding a worker."""
        self.response_timeout = timedelta(minutes=context["params"][self.minutes_param])
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Go on as the person, or the clock, decided."""
        answer = HITLOperator.execute_complete(self, context, event)
        # Branching ends the task by an exception, so Airflow would not keep what is returned.
        said = {name: answer[name] for name in ("chosen_options", "responded_by_user")}
        context["ti"].xcom_push(key="return_value", value=said)
        self.do_branch(context, self.branches[answer["chosen_options"][0]])


def describe_answer(answer: dict[str, Any] | None) -> tuple[str, str]:
    """Return who answered, and what came of it in words.

    :param answer: the XCom of :class:`ApprovalBranchOperator`, or None if nobody was asked
    """
    if answer is None:
        return "the gate", ""
    person = (answer.get("responded_by_user") or {}).get("name")
    if person is None:
        return "nobody", "nobody approved it in time"
    verb = "approved" if answer["chosen_options"] == [ApprovalOperator.APPROVE] else "rejected"
    return person, f"{person} {verb} it"
