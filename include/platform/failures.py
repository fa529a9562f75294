"""What is done about errors that a task cannot get over by trying again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException


@contextmanager
def no_other_try(*errors: type[Exception]) -> Iterator[None]:
    """Fail the task that asks without a retry if one of these errors comes up, in the error's own words.

    :raises AirflowFailException: one of them came up
    """
    try:
        yield
    except errors as error:
        raise AirflowFailException(str(error)) from error
