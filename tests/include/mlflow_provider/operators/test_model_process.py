from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from include.mlflow_provider.operators import _model_process as process

FRAME = pd.DataFrame({"head": [94.1, 92.5]}, index=pd.Index([7, 9], name="case"))


@pytest.mark.parametrize(
    ("result", "columns"),
    [
        (np.array([1.0, 2.0]), ["prediction"]),
        (pd.Series([1.0, 2.0], name="tail"), ["prediction"]),
        ([1.0, 2.0], ["prediction"]),
        (np.array([[1.0], [2.0]]), ["prediction"]),
        (np.array([[1.0, 3.0], [2.0, 4.0]]), ["prediction_0", "prediction_1"]),
        (pd.DataFrame({"tail": [1.0, 2.0], "sigma": [0.1, 0.2]}), ["tail", "sigma"]),
    ],
)
def test_a_result_becomes_a_frame_with_the_index_of_the_input(result, columns):
    frame = process.as_frame(result, FRAME.index)
    assert list(frame.columns) == columns
    assert list(frame.iloc[:, 0]) == [1.0, 2.0]
    pd.testing.assert_index_equal(frame.index, FRAME.index)


def test_a_result_of_another_length_keeps_its_own_index():
    assert list(process.as_frame([1.0, 2.0, 3.0], FRAME.index).index) == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_written_table_has_its_index(tmp_path, suffix):
    file = tmp_path / f"output{suffix}"
    process.write_table(FRAME, file)
    found = pd.read_parquet(file) if suffix == ".parquet" else pd.read_csv(file, index_col="case")
    pd.testing.assert_frame_equal(found, FRAME)


def test_a_csv_has_no_column_for_an_index_that_only_counts(tmp_path):
    process.write_table(FRAME.reset_index(drop=True), tmp_path / "output.csv")
    assert list(pd.read_csv(tmp_path / "output.csv").columns) == ["head"]


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
    assert process.plain(result) == expected


def test_a_big_result_names_the_way_out():
    assert process.small([1, 2], 100) == [1, 2]
    with pytest.raises(ValueError, match="output_uri"):
        process.small(list(range(100)), 100)


def test_records_become_a_table_and_other_lists_an_array(tmp_path):
    file = tmp_path / "data.pickle"
    file.write_bytes(pickle.dumps([{"head": 1.0}, {"head": 2.0}]))
    assert list(process.read_input(file)["head"]) == [1.0, 2.0]
    file.write_bytes(pickle.dumps([[1.0], [2.0]]))
    assert process.read_input(file).shape == (2, 1)


def test_waiting_ends_when_nothing_will_come(tmp_path):
    (tmp_path / "failed").touch()
    with pytest.raises(SystemExit, match="the model did not arrive"):
        process.wait_for("model", tmp_path)
