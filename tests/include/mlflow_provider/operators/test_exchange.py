from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._exchange import fetch, publish, stage_input, table_suffix
from include.mlflow_provider.operators._model_process import read_input

INDEX = pd.Index([7, 9], name="case")
FRAME = pd.DataFrame({"sex": ["f", "m"], "head": [94.1, np.nan]}, index=INDEX)


@pytest.fixture(scope="module")
def bucket(services):
    from airflow.sdk import ObjectStoragePath

    folder = ObjectStoragePath("s3://provider-tests", conn_id="aws_default")
    folder.mkdir(exist_ok=True)
    return "s3://provider-tests"


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (FRAME, ".parquet"),
        (FRAME["head"], ".series"),
        (pd.Series([1.0, 2.0]), ".series"),
        (np.array([[1.5, 2.0]]), ".npy"),
        ({"head": np.array([1.0, 2.0])}, ".pickle"),
    ],
)
def test_a_value_arrives_as_it_left(data, suffix, tmp_path):
    file = stage_input(data, tmp_path, None)
    found = read_input(file)
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
    pd.testing.assert_frame_equal(read_input(stage_input(frame, tmp_path, None)), frame, check_column_type=False)


def test_a_sparse_matrix_arrives(tmp_path):
    found = read_input(stage_input(csr_matrix(np.eye(2)), tmp_path, None))
    np.testing.assert_array_equal(found.toarray(), np.eye(2))


@pytest.mark.parametrize("where", ["s3", "disk"])
def test_a_table_object_is_copied_byte_by_byte(bucket, where, tmp_path):
    FRAME.to_parquet(source := tmp_path / "source.parquet")
    uri = f"{bucket}/copied.parquet" if where == "s3" else str(tmp_path / "copied.parquet")
    publish(source, uri, "aws_default")
    (folder := tmp_path / "staged").mkdir()
    assert stage_input(uri, folder, "aws_default").read_bytes() == source.read_bytes()


def test_a_uri_may_name_its_connection_itself(bucket, tmp_path):
    (tmp_path / "a.csv").write_text("head\n1\n")
    uri = "s3://aws_default@provider-tests/named.csv"
    publish(tmp_path / "a.csv", uri, "nobody")
    assert list(read_input(stage_input(uri, tmp_path, "nobody"))["head"]) == [1]


def test_a_missing_object_is_named_with_its_connection(bucket, tmp_path):
    with pytest.raises(MLflowError, match=r"Could not read s3://provider-tests/no.csv \(S3 connection 'aws_default'"):
        fetch(f"{bucket}/no.csv", tmp_path / "a", "aws_default")


def test_a_bucket_that_is_not_there_is_an_error(services, tmp_path):
    (tmp_path / "a.csv").write_text("head\n1\n")
    with pytest.raises(MLflowError, match=r"Could not write s3://not-there/a\.csv"):
        publish(tmp_path / "a.csv", "s3://not-there/a.csv", "aws_default")


@pytest.mark.parametrize("uri", ["s3://bucket/folder/", "s3://bucket/a.xlsx", "just a word"])
def test_a_uri_of_no_table_is_refused(uri):
    with pytest.raises(MLflowError, match=r"must end in \.parquet or \.csv"):
        table_suffix(uri)
