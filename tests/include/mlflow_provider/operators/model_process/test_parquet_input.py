import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.mlflow_provider.operators._model_process.inputs import read_parquet

COLUMNS = {
    "numbers": [1.5, 2.5, None, 4.5, 5.5, 6.5, 7.5],
    "integers": [1, 2, 3, 4, 5, 6, 7],
    "text": ["a", "b", None, "d", "e", "f", "g"],
    "days": pd.date_range("2026-01-01", periods=7),
    "lists": [[1], [2], [3], [4, 4], [5], [6], [7]],
    "sexes": pd.Categorical(["f", "m", "f", "f", "m", "m", "f"], categories=["m", "f", "unknown"]),
    "nullable": pd.array([1, 2, 3, None, 5, 6, 7], dtype="Int64"),
    # Gaps that the first chunk does not have, so that it cannot know by itself what the whole column is.
    "late_gap": pd.array([1, 2, 3, 4, 5, None, 7], dtype="Int64").astype(object),
    "late_flag": [True, False, True, False, True, None, False],
    "early_gap": [None, 2, 3, 4, 5, 6, 7],
    "nothing": [None] * 7,
}
INDEXES = {
    "counting": None,
    "named": pd.RangeIndex(7, name="case"),
    "by two": pd.RangeIndex(5, 19, 2),
    "stored": pd.Index([7, 3, 5, 1, 2, 9, 8], name="case"),
    "of two": pd.MultiIndex.from_product([["a"], range(7)], names=["site", "case"]),
}


def frame(index=None):
    return pd.DataFrame(COLUMNS, index=index)


def check(path, size):
    """Compare chunks with the whole table: values, index, and the types of every chunk."""
    whole = pd.read_parquet(path)
    chunks = list(read_parquet(path, size))
    for chunk in chunks:
        assert chunk.total == len(whole)
        expected = whole.iloc[chunk.first : chunk.first + len(chunk.data)]
        pd.testing.assert_frame_equal(chunk.data, expected, check_index_type="exact")
    assert sum(len(chunk.data) for chunk in chunks) == len(whole)
    assert max(len(chunk.data) for chunk in chunks) <= size
    return chunks


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("groups", [1, 2, 5, 7])
def test_chunks_are_the_parts_of_the_whole_table(tmp_path, index, groups):
    table = pa.Table.from_pandas(frame(INDEXES[index]))
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=groups)
    assert len(check(tmp_path / "table.parquet", 3)) in (3, 4)


def test_a_table_that_pandas_did_not_write_is_numbered_through(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1, 2, None], pa.int32())}), tmp_path / "table.parquet")
    chunks = check(tmp_path / "table.parquet", 2)
    assert [list(chunk.data.index) for chunk in chunks] == [[0, 1], [2]]
    assert {chunk.data["a"].dtype for chunk in chunks} == {np.dtype("float64")}


def test_a_column_without_statistics_counts_as_one_with_gaps_in_every_chunk(tmp_path):
    frame().to_parquet(tmp_path / "table.parquet", write_statistics=False)
    chunks = list(read_parquet(tmp_path / "table.parquet", 3))
    assert {chunk.data["integers"].dtype for chunk in chunks} == {np.dtype("float64")}


def test_an_index_of_rows_that_were_filtered_out_numbers_those_that_are_there(tmp_path):
    table = pa.Table.from_pandas(frame(INDEXES["by two"])).slice(0, 5)
    pq.write_table(table, tmp_path / "table.parquet")
    chunks = check(tmp_path / "table.parquet", 3)
    assert [list(chunk.data.index) for chunk in chunks] == [[0, 1, 2], [3, 4]]
