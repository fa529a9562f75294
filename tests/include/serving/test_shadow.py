"""The version in the champion's shadow, from the real MLflow."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from include.problem import PROBLEM
from include.services import champions
from include.serving import shadow
from include.serving.shadow import Shadow

from ..conftest import Registered


@pytest.fixture
def inputs(project_table: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(project_table[PROBLEM.inputs].head(3), preserve_index=False)


class Broken:
    def __init__(self, predicted: float) -> None:
        self.predicted = predicted

    def predict(self, rows: pd.DataFrame) -> list[float]:
        return [1 / self.predicted] * len(rows)


@pytest.fixture
def waiting(registered: Registered) -> Registered:
    """Version 1 is champion, version 2 was trained and waits."""
    for version in ("1", "2"):
        registered.hook.set_model_version_tag(registered.name, version, champions.FEATURES_URI, "s3://data/f.parquet")
    registered.hook.set_model_version_tag(registered.name, "1", champions.PROMOTED, "2026-11-01T00:00:00Z")
    registered.promote("1")
    return registered


def test_the_version_that_waits_predicts_until_it_has_a_verdict(waiting: Registered, inputs: pa.Table) -> None:
    follower = Shadow()

    answer = follower(inputs)

    assert answer is not None
    assert (answer[0], answer[1].tolist()) == ("2", [36.0] * 3)
    assert (follower.version, follower.rows, follower.failures) == ("2", 3, 0)
    champions.reject("2", why="a test")
    assert follower(inputs) is None
    assert follower.version == ""


@pytest.mark.parametrize("predicted", [0.0, float("nan")])  # an error, and no number
def test_a_version_that_cannot_predict_is_logged_once_and_does_no_harm(
    waiting: Registered,
    inputs: pa.Table,
    predicted: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(shadow, "load_model", lambda uri: Broken(predicted))
    follower = Shadow()

    assert [follower(inputs), follower(inputs)] == [None, None]
    assert (follower.rows, follower.failures) == (0, 2)
    assert caplog.text.count("No version predicts in the champion's shadow") == 1
