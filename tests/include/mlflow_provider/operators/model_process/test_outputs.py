import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from include.mlflow_provider.operators._model_process.inputs import Chunk
from include.mlflow_provider.operators._model_process.outputs import as_frame, check_rows, write

FRAME = pd.DataFrame({"head": [94.1, 92.5]}, index=pd.Index([7, 9], name="case"))
INDEXES = {
    "counting": pd.RangeIndex(7),
    "named": pd.RangeIndex(7, name="case"),
    "by two": pd.RangeIndex(5, 19, 2),
    "stored": pd.Index([7, 3, 5, 1, 2, 9, 8], name="case"),
    # Each chunk of three counts its cases from 0, the whole table does not.
    "of two": pd.MultiIndex.from_arrays([list("aaabbbc"), [0, 1, 2, 0, 1, 2, 0]], names=["site", "case"]),
}
TAILS = {
    "array": np.arange(7.0),
    "list": list(range(7)),
    "of two": np.arange(14.0).reshape(7, 2),
    "frame": pd.DataFrame({"tail": np.arange(7.0), "unit": ["cm"] * 7}),
}


def table(index):
    return pd.DataFrame({"head": np.arange(7.0)}, index=index)


def chunks(data, *results):
    """Pair results with as many rows of a table as each says."""
    first = 0
    for rows, result in results:
        yield Chunk(data.iloc[first : first + rows], first, len(data)), result
        first += rows


def part(values, start, stop):
    return values.iloc[start:stop] if isinstance(values, pd.DataFrame) else values[start:stop]


def read(path):
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


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
    frame = as_frame(result, Chunk(FRAME))
    assert list(frame.columns) == columns
    assert list(frame.iloc[:, 0]) == [1.0, 2.0]
    pd.testing.assert_index_equal(frame.index, FRAME.index)


def test_a_result_of_another_length_keeps_its_own_index():
    assert list(as_frame([1.0, 2.0, 3.0], Chunk(FRAME)).index) == [0, 1, 2]


@pytest.mark.parametrize(("result", "shape"), [([], (0, 1)), (np.empty((0, 2)), (0, 2))])
def test_a_result_without_rows_keeps_its_columns(result, shape):
    assert as_frame(result, Chunk(None)).shape == shape


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("tails", TAILS)
def test_chunks_make_the_table_that_one_chunk_makes(tmp_path, suffix, index, tails):
    data, values = table(INDEXES[index]), TAILS[tails]
    whole, parts = tmp_path / f"whole.{suffix}", tmp_path / f"parts.{suffix}"
    write(chunks(data, (7, values)), whole)
    write(chunks(data, (3, part(values, 0, 3)), (3, part(values, 3, 6)), (1, part(values, 6, 7))), parts)
    pd.testing.assert_frame_equal(read(parts), read(whole), check_index_type="exact")
    if suffix == "parquet":
        pd.testing.assert_index_equal(read(parts).index, data.index, exact=True)
        assert pq.ParquetFile(parts).num_row_groups == 3
    else:
        assert parts.read_bytes() == whole.read_bytes()


def test_a_csv_has_no_column_for_an_index_that_only_counts(tmp_path):
    write([(Chunk(FRAME.reset_index(drop=True)), [1.0, 2.0])], tmp_path / "output.csv")
    assert (tmp_path / "output.csv").read_text() == "prediction\n1.0\n2.0\n"


@pytest.mark.parametrize("data", [(1.0, 2.0), {"head": [1.0]}, np.ones(2)], ids=["tuple", "dict", "array"])
def test_a_value_that_is_no_table_lends_no_index(tmp_path, data):
    write([(Chunk(data), [1.0, 2.0])], tmp_path / "output.parquet")
    assert list(pd.read_parquet(tmp_path / "output.parquet").index) == [0, 1]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_other_columns_in_a_later_chunk_are_refused(tmp_path, suffix):
    results = chunks(table(None), (3, np.ones(3)), (4, np.ones((4, 2))))
    with pytest.raises(ValueError, match=r"^rows 3 to 6 of 7: .*\['prediction_0', 'prediction_1'\].*chunk_size=None"):
        write(results, tmp_path / f"output.{suffix}")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_model_may_drop_rows_that_have_names(tmp_path, suffix):
    data = table(INDEXES["stored"])
    kept = data[data["head"] % 2 == 0]
    write(chunks(data, (3, kept.iloc[:2]), (4, kept.iloc[2:])), tmp_path / f"output.{suffix}")
    found = read(tmp_path / f"output.{suffix}")
    pd.testing.assert_frame_equal(found if suffix == "parquet" else found.set_index("case"), kept)


LATER = {
    "floats": ([1, 2, 3], [1.5, 2.0, 3.0, 4.0]),
    "anything": ([None] * 3, ["a", "b", "c", "d"]),
    "dates": ([None] * 3, list(pd.date_range("2026-01-01", periods=4))),
    "items": ([[], [], []], [[1], [], [2], []]),
}


@pytest.mark.parametrize("kind", LATER)
def test_types_that_show_later_are_those_of_the_whole_table(tmp_path, kind):
    first, later = LATER[kind]
    write(chunks(table(None), (3, {"x": first}), (4, {"x": later})), tmp_path / "parts.parquet")
    write(chunks(table(None), (7, {"x": first + later})), tmp_path / "whole.parquet")
    assert pq.read_schema(tmp_path / "parts.parquet").types == pq.read_schema(tmp_path / "whole.parquet").types
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "parts.parquet"), pd.read_parquet(tmp_path / "whole.parquet")
    )


@pytest.mark.parametrize(
    ("first", "later"), [([1, 2, 3], list("abcd")), ([True] * 3, [1, 2, 3, 4]), ([1] * 3, [2**64 - 1] * 4)]
)
def test_types_that_go_together_in_no_column_are_refused(tmp_path, first, later):
    with pytest.raises(ValueError, match=r"^rows 3 to 6 of 7: .*chunk_size=None"):
        write(chunks(table(None), (3, first), (4, later)), tmp_path / "output.parquet")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
def test_a_dict_of_lists_and_records_are_tables(tmp_path, suffix):
    for result in ({"x": [1.5, 2.5], "y": ["a", "b"]}, [{"x": 1.5, "y": "a"}, {"x": 2.5, "y": "b"}]):
        write([(Chunk(FRAME.reset_index(drop=True), 0, 2), result)], path := tmp_path / f"output.{suffix}")
        assert read(path).to_dict("list") == {"x": [1.5, 2.5], "y": ["a", "b"]}


@pytest.mark.parametrize("result", [{"mean": 1.0}, {"a": [1], "b": [1, 2]}, 1.5, "text", None, {}])
def test_a_result_that_is_no_table_is_refused(tmp_path, result):
    with pytest.raises(ValueError, match=r"no table can be made of the result, a .*: leave out output_uri"):
        write([(Chunk(5), result)], tmp_path / "output.parquet")


@pytest.mark.parametrize(
    ("result", "column"),
    [
        (pd.DataFrame({"x": [1, "a"]}), "column x"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "Duplicate column names"),
    ],
)
def test_what_parquet_cannot_hold_is_refused_by_column_and_fits_a_csv(tmp_path, result, column):
    with pytest.raises(
        ValueError, match=rf"Parquet cannot hold the result \(.*{column}.*name a CSV object in output_uri"
    ):
        write([(Chunk(5), result)], tmp_path / "output.parquet")
    write([(Chunk(5), result)], tmp_path / "output.csv")


def test_a_list_keeps_numbers_beside_texts(tmp_path):
    write([(Chunk(5), [1, "a", None])], tmp_path / "output.csv")
    assert (tmp_path / "output.csv").read_text() == 'prediction\n1\na\n""\n'


@pytest.mark.parametrize(("later", "expected"), [([2, 3, 4, 5], 2.0), ([None] * 4, np.nan)])
def test_integers_and_gaps_become_the_floats_of_the_first_chunk(tmp_path, later, expected):
    write(chunks(table(None), (3, [0.5, 1.0, 1.5]), (4, later)), tmp_path / "output.parquet")
    found = pd.read_parquet(tmp_path / "output.parquet")["prediction"]
    assert found.dtype == "float64"
    assert found[3] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("result", [[1.0], np.ones(3), {"mean": 1.0}, {"a": [1, 2], "b": [1]}, 1.0, "text", None])
def test_what_a_model_does_not_say_row_by_row_is_not_asked_in_chunks(result):
    with pytest.raises(ValueError, match=r"rows 0 to 1 of 7: the model made .* of 2 rows: .*chunk_size=None"):
        as_frame(result, Chunk([1, 2], 0, 7))
    check_rows(Chunk([1, 2], 0, 2), result)
