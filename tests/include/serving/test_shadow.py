"""The version in the champion's shadow, from the real MLflow."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.problem import PROBLEM
from include.services import champions
from include.serving import shadow
from include.serving.shadow import Shadow

from ..conftest import Registered

NUMBER = PROBLEM.numbers[0]


@pytest.fixture
def inputs(project_table: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(project_table[PROBLEM.inputs].head(3), preserve_index=False)


class Broken:
    """Fails for a piece in which a number is missing, and predicts no number where it is zero."""

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        if rows[NUMBER].isna().any():
            raise OSError("a number is missing")
        return np.divide(36.0, rows[NUMBER])


def test_the_version_that_waits_predicts_until_it_has_a_verdict(waiting: Registered, inputs: pa.Table) -> None:
    follower = Shadow()

    answer = follower(inputs)

    assert answer is not None
    assert (answer[0], answer[1].tolist()) == ("2", [36.0] * 3)
    assert (follower.version, follower.rows, follower.failures) == ("2", 3, 0)
    champions.reject("2", why="a test")
    assert follower(inputs) is None
    assert follower.version == ""


def test_an_error_loses_the_predictions_of_its_rows_alone_and_is_logged_once(
    waiting: Registered, inputs: pa.Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shadow, "load_model", lambda uri: Broken())
    monkeypatch.setattr(shadow, "PIECE", 2)
    place = inputs.column_names.index(NUMBER)
    rows = pa.concat_tables([inputs, inputs]).set_column(place, NUMBER, pa.array([None, 1, 1, 0, 2, 3], pa.float64()))
    follower = Shadow()

    found = follower(rows)

    assert found is not None
    assert np.nan_to_num(found[1]).tolist() == [0, 0, 36, 0, 18, 12]
    assert (follower.rows, follower.failures) == (3, 2)
    follower(rows[:2])
    follower(rows[:2])
    assert caplog.text.count("OSError: a number is missing") == 2


def test_a_version_that_is_loaded_goes_on_while_mlflow_does_not_answer(
    waiting: Registered, inputs: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("MLflow does not answer")

    follower = Shadow()
    follower(inputs)
    monkeypatch.setattr(champions, "waiting", fail)

    found = follower(inputs)

    assert found is not None
    assert found[0] == "2"
    assert (follower.rows, follower.failures) == (6, 1)
