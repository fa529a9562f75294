"""Errors that must not be retried."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from include.mlflow_provider.exceptions import MLflowAPIError


@contextmanager
def fail_without_retry(*errors: type[Exception]) -> Iterator[None]:
    """Re-raise these errors as ``AirflowFailException``, with their own message.

    :raises AirflowFailException: one of them was raised
    """
    try:
        yield
    except errors as error:
        raise AirflowFailException(str(error)) from error


@contextmanager
def fail_if_missing(subject: str) -> Iterator[None]:
    """Re-raise a ``LookupError``, or MLflow's response that something does not exist, as ``AirflowFailException``.

    :param subject: the beginning of the message
    """
    try:
        yield
    except (LookupError, MLflowAPIError) as error:
        if isinstance(error, MLflowAPIError) and error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise AirflowFailException(f"{subject}: {error}") from error
