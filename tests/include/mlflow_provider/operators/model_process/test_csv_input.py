import pandas as pd
import pytest

from include.mlflow_provider.operators._model_process.inputs import read_csv

COLUMNS = {
    "integers": "1 2 3 4 5 6 7",
    "late fraction": "1 2 3 4 5 6 7.5",
    "late gap": "1 2 3 4 5 NA 7",
    "whole chunk missing": "NA NA NA 4 5 6 7",
    "late text": "1 2.50 3 True 5 six 7",
    "late flag gap": "True False True True False NA True",
    "huge": "1 2 3 18446744073709551615 5 6 7",
}


@pytest.fixture
def path(tmp_path):
    cells = {name: values.split() for name, values in COLUMNS.items()}
    (path := tmp_path / "table.csv").write_text(pd.DataFrame(cells).to_csv(index=False))
    return path


@pytest.mark.parametrize("size", [1, 3, 6])
def test_chunks_are_the_parts_of_the_whole_table(path, size):
    whole = pd.read_csv(path, low_memory=False)
    chunks = list(read_csv(path, size))
    assert [(chunk.first, chunk.total) for chunk in chunks] == [(first, 7) for first in range(0, 7, size)]
    for chunk in chunks:
        expected = whole.iloc[chunk.first : chunk.first + size]
        pd.testing.assert_frame_equal(chunk.data, expected, check_index_type="exact")


def test_an_index_that_pandas_reads_stays(tmp_path):
    (tmp_path / "table.csv").write_text("head,tail\n7,1,2\n9,3,4\n5,5,6\n")  # one name less than cells
    whole = pd.read_csv(tmp_path / "table.csv")
    chunks = [chunk.data for chunk in read_csv(tmp_path / "table.csv", 2)]
    assert list(whole.index) == [7, 9, 5]
    pd.testing.assert_frame_equal(pd.concat(chunks), whole)
