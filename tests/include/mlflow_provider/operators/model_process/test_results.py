from __future__ import annotations

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest

from include.mlflow_provider.operators._model_process.chunk import Chunk
from include.mlflow_provider.operators._model_process.results import as_json, collect, joined, plain

FRAME = pd.DataFrame({"head": [94.1, 92.5]}, index=pd.Index([7, 9], name="case"))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.array([[1, 2]]), [[1, 2]]),
        (np.float64(1.5), 1.5),
        (FRAME, FRAME.to_json()),
        (FRAME["head"], FRAME["head"].to_json()),
        (["a"], ["a"]),
    ],
)
def test_a_result_is_returned_as_plain_values(result, expected):
    assert plain(result) == expected


def test_a_result_travels_as_json():
    result = {"a": np.array([1.5, np.nan]), "b": [np.int64(2), date(2026, 1, 2)], "c": FRAME, "d": None}
    found = json.loads(as_json(result))
    assert str(found["a"]) == "[1.5, nan]"
    assert found["b"] == [2, "2026-01-02"]
    assert found["c"] == FRAME.to_json()
    assert found["d"] is None


def test_a_result_that_json_cannot_hold_is_named():
    with pytest.raises(TypeError, match=r"holds a set, and a task returns JSON alone: .* output_uri"):
        as_json([{1.5}])


def test_what_is_too_big_to_return_names_the_way_out_before_all_is_predicted():
    def results():
        for _ in range(4):
            yield Chunk(None), list(range(10))
        pytest.fail("the last chunk was predicted")

    with pytest.raises(ValueError, match=r"more bytes of JSON than the 100 .*output_uri"):
        collect(results(), 100)


def test_without_a_limit_any_result_is_returned():
    assert collect([(Chunk(None), np.zeros(100_000))], None) == [0.0] * 100_000


def test_results_of_chunks_are_joined_before_they_are_returned():
    assert collect([(Chunk(None), np.array([1.0])), (Chunk(None), np.array([2.0]))], 100) == [1.0, 2.0]


def test_one_result_is_left_alone():
    assert joined([(value := {"a": 1})]) is value


def test_arrays_and_lists_are_put_behind_each_other():
    np.testing.assert_array_equal(joined([np.ones((2, 2)), np.zeros((1, 2))]), [[1, 1], [1, 1], [0, 0]])
    assert joined([["a"], ["b", "c"]]) == ["a", "b", "c"]


def test_frames_keep_an_index_with_names_and_number_on_one_that_counts():
    pd.testing.assert_frame_equal(joined([FRAME.iloc[:1], FRAME.iloc[1:]]), FRAME)
    assert list(joined([pd.Series([1.0, 2.0]), pd.Series([3.0])]).index) == [0, 1, 2]


def test_what_cannot_be_joined_names_the_way_out():
    with pytest.raises(TypeError, match=r"several chunks \(dict, list\).*chunk_size=None"):
        joined([{"a": 1}, ["b"]])
