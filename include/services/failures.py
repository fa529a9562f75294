"""Errors that must not be retried."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException


@contextmanager
def fail_without_retry(*errors: type[Exception]) -> Iterator[None]:
    """Re-raise these errors as ``AirflowFailException``, with their own message.

    :raises AirflowFailException: one of them was raised
    """
    try:
        yield
    except errors as error:
        raise AirflowFailException(str(error)) from error
