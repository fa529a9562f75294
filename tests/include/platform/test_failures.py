from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.platform.failures import no_other_try


def test_an_error_that_trying_again_cannot_mend_keeps_its_words_and_its_cause() -> None:
    with pytest.raises(AirflowFailException, match="row 2 has no") as caught, no_other_try(LookupError, ValueError):
        raise ValueError("row 2 has no tail")

    assert isinstance(caught.value.__cause__, ValueError)


def test_any_other_error_may_be_tried_again() -> None:
    with pytest.raises(ConnectionError), no_other_try(ValueError):
        raise ConnectionError
