"""A retry policy for tasks that call MLflow."""

from typing import Any, Self

from airflow.sdk import Context, RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryDecision

from .exceptions import MLflowAPIError


class MLflowRetryPolicy(RetryPolicy):
    """Fails a task without retries if MLflow refused a request with a 4xx other than 408 and 429.

    All other failures are retried as the task is configured. Needs Airflow 3.3.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return whether the task may be retried."""
        status = exception.status_code if isinstance(exception, MLflowAPIError) else 0
        if 400 <= int(status) < 500 and status not in (408, 429):
            return RetryDecision.fail(f"MLflow refuses this request, with status {status}")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the arguments of this policy: none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Return a new policy."""
        return cls()
