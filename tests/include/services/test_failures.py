import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.services.failures import fail_without_retry


def test_an_error_that_must_not_be_retried_keeps_its_message_and_cause() -> None:
    with (
        pytest.raises(AirflowFailException, match="row 2 has no price") as caught,
        fail_without_retry(LookupError, ValueError),
    ):
        raise ValueError("row 2 has no price")

    assert isinstance(caught.value.__cause__, ValueError)


def test_any_other_error_may_be_retried() -> None:
    with pytest.raises(ConnectionError), fail_without_retry(ValueError):
        raise ConnectionError
