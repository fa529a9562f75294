import gzip

import pandas as pd
import pytest

from include.mlflow_provider.operators._model_process.inputs import read_chunks
from include.mlflow_provider.operators._subprocess import stage_input

FRAME = pd.DataFrame({"head": [94.1, 92.5]}, index=pd.Index([7, 9], name="case"))


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_a_csv_is_read_packed_and_in_unicode_of_any_kind_or_rejected(tmp_path, size, encoding, packed, name):
    content = "sex,weight\nfé,1\nm,2\n".encode(encoding)
    if encoding == "utf-16-le":  # without the mark at its beginning
        content = "größe\n1\n2\n".encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    if encoding == "utf-16-le":
        with pytest.raises(ValueError, match=r"the CSV file is not UTF-8 \(.*\): save it as UTF-8"):
            list(read_chunks(tmp_path / name, size))
    else:
        found = pd.concat(chunk.data for chunk in read_chunks(tmp_path / name, size))
        assert found.to_dict("list") == {"sex": ["fé", "m"], "weight": [1, 2]}


def test_a_frame_comes_in_one_piece(tmp_path):
    assert [len(chunk.data) for chunk in read_chunks(stage_input(FRAME, tmp_path, None), 1)] == [2]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(("rows", "size"), [(2, None), (2, 2), (2, 3), (0, 3)])
def test_a_table_of_one_chunk_is_what_pandas_reads(tmp_path, suffix, rows, size):
    frame, file = FRAME.iloc[:rows], tmp_path / f"data.{suffix}"
    frame.to_csv(file) if suffix == "csv" else frame.to_parquet(file)
    [chunk] = read_chunks(file, size)
    pd.testing.assert_frame_equal(chunk.data, pd.read_csv(file) if suffix == "csv" else pd.read_parquet(file))
    assert (chunk.total, chunk.is_part) == (rows, False)
