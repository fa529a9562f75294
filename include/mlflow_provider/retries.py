"""Which failures of MLflow are worth another try of a task."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context, RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryDecision

from .exceptions import MLflowAPIError


class MLflowRetryPolicy(RetryPolicy):
    """Fails a task at once where MLflow refused a request: it would refuse it again. Needs Airflow 3.3.

    Statuses 408 and 429 and all other failures are tried again as the task says.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about the next try."""
        status = exception.status_code if isinstance(exception, MLflowAPIError) else 0
        if 400 <= int(status) < 500 and status not in (408, 429):
            return RetryDecision.fail(f"MLflow refuses this request, with status {status}")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return what this policy is made from."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MLflowRetryPolicy:
        """Make the policy again."""
        return cls()
