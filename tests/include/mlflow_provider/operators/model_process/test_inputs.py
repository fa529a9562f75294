from __future__ import annotations

import pickle

import pandas as pd

from include.mlflow_provider.operators._model_process.inputs import read_chunks, read_value

FRAME = pd.DataFrame({"head": [94.1, 92.5]}, index=pd.Index([7, 9], name="case"))


def test_records_become_a_table_and_other_lists_an_array(tmp_path):
    file = tmp_path / "data.pickle"
    file.write_bytes(pickle.dumps([{"head": 1.0}, {"head": 2.0}]))
    assert list(read_value(file)["head"]) == [1.0, 2.0]
    file.write_bytes(pickle.dumps([[1.0], [2.0]]))
    assert read_value(file).shape == (2, 1)


def test_a_frame_comes_in_one_piece_and_its_object_in_chunks(tmp_path):
    for suffix, rows in [("frame", [2]), ("parquet", [1, 1]), ("csv", [1, 1])]:
        file = tmp_path / f"data.{suffix}"
        FRAME.to_csv(file) if suffix == "csv" else FRAME.to_parquet(file)
        assert [len(chunk.data) for chunk in read_chunks(file, 1)] == rows


def test_a_chunk_says_which_rows_it_has(tmp_path):
    FRAME.to_parquet(tmp_path / "data.parquet")
    assert [chunk.rows for chunk in read_chunks(tmp_path / "data.parquet", 1)] == [
        "rows 0 to 0 of 2",
        "rows 1 to 1 of 2",
    ]
