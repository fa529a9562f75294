import pytest
from airflow.sdk.definitions.retry_policy import RetryAction

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowConnectionError
from include.mlflow_provider.retries import MLflowRetryPolicy


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refused_request_is_not_tried_again(status):
    decision = MLflowRetryPolicy().evaluate(MLflowAPIError("no", status), 1, 3)
    assert decision.action is RetryAction.FAIL
    assert str(status) in decision.reason


@pytest.mark.parametrize(
    "error", [MLflowAPIError("slow down", 429), MLflowAPIError("later", 503), MLflowConnectionError("?"), ValueError()]
)
def test_all_else_is_tried_again_as_the_task_says(error):
    assert MLflowRetryPolicy().evaluate(error, 1, 3).action is RetryAction.DEFAULT


def test_it_survives_the_serialization_of_a_dag():
    assert isinstance(MLflowRetryPolicy.deserialize(MLflowRetryPolicy().serialize()), MLflowRetryPolicy)
