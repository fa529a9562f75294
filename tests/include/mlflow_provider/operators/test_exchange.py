from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._exchange import stage_input, table_suffix
from include.mlflow_provider.operators._model_process.inputs import read_value

INDEX = pd.Index([7, 9], name="case")
FRAME = pd.DataFrame({"sex": ["f", "m"], "head": [94.1, np.nan]}, index=INDEX)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (FRAME, ".frame"),
        (FRAME["head"], ".series"),
        (pd.Series([1.0, 2.0]), ".series"),
        (np.array([[1.5, 2.0]]), ".npy"),
        ({"head": np.array([1.0, 2.0])}, ".pickle"),
    ],
)
def test_a_value_arrives_as_it_left(data, suffix, tmp_path):
    file = stage_input(data, tmp_path, None)
    found = read_value(file)
    assert file.suffix == suffix
    assert type(found) is type(data)
    if isinstance(data, dict):
        data, found = data["head"], found["head"]
    if isinstance(data, pd.Series):
        pd.testing.assert_series_equal(found, data, check_names=data.name is not None)
    elif isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(found, data)
    else:
        np.testing.assert_array_equal(found, data)


def test_columns_that_are_numbers_arrive_as_numbers(tmp_path):
    frame = pd.DataFrame(np.eye(2))
    pd.testing.assert_frame_equal(read_value(stage_input(frame, tmp_path, None)), frame, check_column_type=False)


def test_a_sparse_matrix_arrives(tmp_path):
    found = read_value(stage_input(csr_matrix(np.eye(2)), tmp_path, None))
    np.testing.assert_array_equal(found.toarray(), np.eye(2))


def test_a_table_object_is_copied_byte_by_byte(tmp_path):
    FRAME.to_parquet(source := tmp_path / "source.parquet")
    (folder := tmp_path / "staged").mkdir()
    assert stage_input(str(source), folder, "aws_default").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("uri", ["s3://bucket/folder/", "s3://bucket/a.xlsx", "just a word"])
def test_a_uri_of_no_table_is_refused(uri):
    with pytest.raises(MLflowError, match=r"must end in \.parquet or \.csv"):
        table_suffix(uri)
