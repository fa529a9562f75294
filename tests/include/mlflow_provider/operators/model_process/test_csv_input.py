from __future__ import annotations

import pandas as pd
import pytest

from include.mlflow_provider.operators._model_process.inputs import read_csv

COLUMNS = {
    "integers": "1 2 3 4 5 6 7",
    "numbers": "1.5 2 3 4 5 6 7",
    "late fraction": "1 2 3 4 5 6 7.5",
    "late gap": "1 2 3 4 5 NA 7",
    "whole chunk missing": "NA NA NA 4 5 6 7",
    "nothing": "NA NA NA NA NA NA NA",
    "text": "a b c d e f g",
    "text with gaps": "a NA c NA NA NA g",
    "late text": "1 2.50 3 True 5 six 7",
    "flags": "True False True True False True True",
    "late flag gap": "True False True True False NA True",
    "early flag gap": "NA False True True False True True",
    "flags and numbers": "True False True 1 2 3 4",
    "flags and text": "True False True True maybe True True",
    "huge": "1 2 3 18446744073709551615 5 6 7",
    "huge and negative": "-1 2 3 18446744073709551615 5 6 7",
    "huge fraction": "1.5 2 3 18446744073709551615 5 6 7",
    "negative": "1 2 3 -4 5 6 7",
    "negative zero": "-0 0 1 2 3 4 -5",
}


@pytest.fixture
def path(tmp_path):
    cells = {name: values.split() for name, values in COLUMNS.items()}
    (path := tmp_path / "table.csv").write_text(pd.DataFrame(cells).to_csv(index=False))
    return path


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("size", [1, 3, 6])
def test_chunks_are_the_parts_of_the_whole_table(path, name, size):
    whole = pd.read_csv(path, low_memory=False)[[name]]
    chunks = list(read_csv(path, size))
    for chunk in chunks:
        assert chunk.total == 7
        expected = whole.iloc[chunk.first : chunk.first + len(chunk.data)]
        pd.testing.assert_frame_equal(chunk.data[[name]], expected, check_index_type="exact")
    assert [chunk.first for chunk in chunks] == list(range(0, 7, size))
    assert len({str(chunk.data[name].dtype) for chunk in chunks}) == 1


def test_an_index_that_pandas_reads_stays(tmp_path):
    (tmp_path / "table.csv").write_text("head,tail\n7,1,2\n9,3,4\n5,5,6\n")  # one name less than cells
    whole = pd.read_csv(tmp_path / "table.csv")
    chunks = [chunk.data for chunk in read_csv(tmp_path / "table.csv", 2)]
    assert list(whole.index) == [7, 9, 5]
    pd.testing.assert_frame_equal(pd.concat(chunks), whole)
