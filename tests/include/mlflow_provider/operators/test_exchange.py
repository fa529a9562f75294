import numpy as np
import pandas as pd
import pytest
from airflow.sdk import ObjectStoragePath
from scipy.sparse import csr_matrix

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._model_process.inputs import read_value
from include.mlflow_provider.operators._subprocess import stage_input, table_suffix

FRAME = pd.DataFrame({"sex": ["f", "m"], "head": [94.1, np.nan]}, index=pd.Index([7, 9], name="case"))
DAYS = pd.date_range("2026-01-01", periods=2)
TABLES = {
    "usual": FRAME,
    "column": FRAME["head"],
    "series without a name": pd.Series([1.0, 2.0]),
    "categories": pd.DataFrame({"x": pd.Categorical(["m", "f"], ["f", "m", "unknown"], ordered=True)}),
    "numbers as categories": pd.DataFrame({"x": pd.Categorical([5, 3], [9, 5, 3])}),
    "dicts": pd.DataFrame({"x": [{"a": 1}, {"b": [2]}]}),
    "lists": pd.DataFrame({"x": [[1], []]}),
    "mixed": pd.DataFrame({"x": [1, "a"], "y": [None, b"z"]}),
    "twice": pd.DataFrame([[1, "a"], [2, "b"]], columns=["x", "x"]),
    "numbers as names": pd.DataFrame({5: [1, 2], "x": [3, 4]}),
    "no names": pd.DataFrame([[1, 2], [3, 4]]),
    "names of two": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
    "complex": pd.DataFrame({"x": [1j, 2]}),
    "periods": pd.DataFrame({"x": pd.period_range("2026-01", periods=2, freq="M")}),
    "zones": pd.DataFrame({"x": DAYS.tz_localize("Europe/Berlin")}, index=DAYS),
    "nullable": pd.DataFrame({"x": pd.array([1, None], "Int64"), "y": pd.array([True, None], "boolean")}),
    "small": pd.DataFrame({"x": np.array([1, 2], "float32"), "y": np.array([1, 2], "uint8")}),
    "index of two": pd.DataFrame(
        {"x": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["s", None])
    ),
    "index as column": pd.DataFrame({"x": [1, 2]}, index=pd.Index([3, 4], name="x")),
    "every second": pd.DataFrame({"x": [1, 2]}, index=pd.RangeIndex(3, 7, 2, name="case")),
    "no columns": pd.DataFrame(index=[1, 2]),
    "no rows": pd.DataFrame({"x": np.array([], "int8"), "y": np.array([], object)}),
    "series": pd.Series([{"a": 1}], name=("a", 1)),
    "texts": pd.DataFrame({"x": ["a", None]}),
    "objects": pd.DataFrame({"x": np.array(["a", None], object)}),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_frame_of_any_kind_arrives_as_it_left_in_plain_cells(kind, tmp_path):
    data = TABLES[kind]
    found = read_value(file := stage_input(data, tmp_path, None))
    assert file.suffix == ".cells"
    equal = pd.testing.assert_series_equal if data.ndim == 1 else pd.testing.assert_frame_equal
    equal(found, data, check_index_type="exact", check_freq=False)


def test_a_path_is_as_good_as_a_uri(tmp_path):
    FRAME.to_csv(source := tmp_path / "source.csv")
    (folder := tmp_path / "staged").mkdir()
    for path in (source, ObjectStoragePath(f"file://{source}")):
        assert stage_input(path, folder, "aws_default").read_bytes() == source.read_bytes()


def test_an_array_a_dict_and_a_sparse_matrix_arrive(tmp_path):
    array = np.array([[1.5, 2.0]])
    np.testing.assert_array_equal(read_value(file := stage_input(array, tmp_path, None)), array)
    assert file.suffix == ".npy"
    np.testing.assert_array_equal(read_value(stage_input({"head": array}, tmp_path, None))["head"], array)
    found = read_value(stage_input(csr_matrix(array), tmp_path, None))
    np.testing.assert_array_equal(found.toarray(), array)


@pytest.mark.parametrize("uri", ["s3://bucket/folder/", "s3://bucket/a.xlsx", "just a word"])
def test_a_uri_of_no_table_is_refused(uri):
    with pytest.raises(MLflowError, match=r"must end in \.parquet, \.csv or \.csv\.gz"):
        table_suffix(uri)
