import random
from collections.abc import Iterator
from functools import partial
from io import BytesIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.data import reading
from include.data.checks import check_inputs
from include.data.predictions import attach
from include.data.reading import Part, TableError, name_rows, parse_rows, read_parts, rebatch

from ...toy import DISTRICT, HOUSES, WITHOUT_ID, make_rows
from ..conftest import select


def parquet(table: pd.DataFrame) -> bytes:
    table.to_parquet(content := BytesIO())
    return content.getvalue()


@pytest.mark.parametrize("name", ["houses.parquet", "HOUSES.PARQUET"])
def test_a_parquet_file_is_read_with_its_types(name: str) -> None:
    rows = make_rows(3).astype({DISTRICT: "category"})

    pd.testing.assert_frame_equal(parse_rows(parquet(rows), name), rows)


@pytest.mark.parametrize("index", [["address"], ["address", DISTRICT]], ids=["one level", "two levels"])
def test_named_levels_of_a_parquet_index_are_columns(index: list[str]) -> None:
    rows = make_rows(3)

    assert sorted(parse_rows(parquet(rows.set_index(index)), "houses.parquet")) == sorted(rows)


def test_row_numbers_of_a_parquet_file_are_not_a_column() -> None:
    rows = parse_rows(parquet(make_rows(9).iloc[[5, 3]]), "houses.parquet")

    assert list(rows) == list(make_rows(1))
    assert rows.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a,b\n1,2\n", "is not a Parquet file: "), (parquet(make_rows(2).head(0)), "has no rows")],
)
def test_a_broken_or_empty_parquet_file_is_named(content: bytes, message: str) -> None:
    with pytest.raises(TableError, match=rf"^houses\.parquet {message}"):
        parse_rows(content, "houses.parquet")


def test_a_parquet_file_that_would_fill_the_memory_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet(pd.DataFrame({"a": [1.0] * 100_000, "b": 1.0}))
    assert len(content) < 10_000
    monkeypatch.setattr(reading, "MAX_CELLS", 199_999)

    with pytest.raises(TableError, match=r"^houses\.parquet has 200,000 cells, 199,999 is the limit: split the file"):
        parse_rows(content, "houses.parquet")


def test_a_parquet_file_with_a_broken_text_is_named() -> None:
    content = parquet(make_rows(3)).replace(b"Street 1", b"S\xffreet 1")

    with pytest.raises(TableError, match=r"^houses\.parquet is not a Parquet file: .*UTF-?8"):
        parse_rows(content, "houses.parquet")


def odd_cells(count: int) -> Iterator[pd.DataFrame]:
    """Tables in which some cells are what no cell should be, the same ones each time."""
    draw = random.Random(0)
    odd = ["1e300", "2e300", "1e-320", "1e400", "9" * 400, "inf", "nan", "-0", "0x10", "1_000", "\uff11\uff12", "1,5"]
    odd += ["=1+1", "\x00", "x" * 5000, "True", "'", '"', "\n", "\r", "\ta ", "\u202e", "\ufeff", "é漢😀", "1.0", "01"]
    odd += ["Street 1~0a1b2c3d"]
    for seed in range(count):
        rows = make_rows(4, seed).astype(object)
        for _ in range(draw.randint(1, 3)):
            rows.iat[draw.randrange(4), draw.randrange(6)] = draw.choice(odd)
        yield rows


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_rows_with_any_cells_are_predicted_or_refused(name: str) -> None:
    outcomes, reasons = [], []
    for rows in odd_cells(100):
        content = rows.to_csv(index=False).encode() if name == "a.csv" else parquet(rows.astype("str"))
        try:
            checked = check_inputs(parse_rows(content, name), HOUSES, name).set_index("address")
            again = pd.read_parquet(BytesIO(parquet(checked))).reset_index()
            predicted = attach(again, pd.DataFrame({"prediction": 300.0}, checked.index), HOUSES)
            outcomes.append(predicted["address"].nunique())
        except TableError as error:
            reasons.append(str(error))

    assert set(outcomes) == {4}
    assert 0 < max(map(len, reasons)) < 2000, "however long a cell is"


def test_the_table_is_the_same_from_csv_and_parquet() -> None:
    rows = make_rows()
    from_text = parse_rows(rows.to_csv(index=False).encode(), "houses.csv")

    pd.testing.assert_frame_equal(select(from_text), select(parse_rows(parquet(rows), "houses.parquet")))


@pytest.mark.parametrize("form", ["text", "numbers"])
def test_without_an_id_a_row_to_predict_has_the_id_of_the_same_row_with_a_target(form: str) -> None:
    rows = make_rows().drop(columns="address")
    new = rows.drop(columns="price").head(5)
    if form == "text":
        new = parse_rows(new.to_csv(index=False).encode(), "new.csv")

    assert check_inputs(new, WITHOUT_ID, "new.csv")["_row"].tolist() == select(rows, WITHOUT_ID)["_row"].tolist()[:5]


def write(rows: pd.DataFrame, name: str) -> bytes:
    return parquet(rows) if name.endswith(".parquet") else rows.to_csv(index=False).encode()


def read(most: int = 7, **parts: bytes) -> list[tuple[str, pd.DataFrame]]:
    """Read parts, named ``part_csv`` for ``part.csv``."""
    files = [Part(name.replace("_", "."), partial(BytesIO, content)) for name, content in parts.items()]
    return list(read_parts(files, most))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_parts_of_a_table_are_read_in_batches(kind: str) -> None:
    rows = make_rows(20).assign(**{"lambda": [None, *range(1, 20)]})
    parts = {"a": rows[:9], "b": rows[9:10], "c": rows[10:][rows.columns[::-1]]}

    batches = read(**{f"{name}_{kind}": write(part, f"x.{kind}") for name, part in parts.items()})

    assert [(name, len(batch)) for name, batch in batches] == [
        *[(f"a.{kind}", 7), (f"a.{kind}", 2), (f"b.{kind}", 1)],
        *[(f"c.{kind}", 7), (f"c.{kind}", 3)],
    ]
    whole = parse_rows(write(rows, f"x.{kind}"), f"x.{kind}")
    pd.testing.assert_frame_equal(pd.concat([batch for _, batch in batches], ignore_index=True), whole)


@pytest.mark.parametrize("whole", [[1, 2, 3, 4], [1, None, 3, 4], [1, 2, 3, 4.5]])
def test_the_type_of_a_number_does_not_depend_on_the_batch(whole: list[float | None]) -> None:
    pq.write_table(pa.table({"a": whole, "b": ["x"] * 4}), file := BytesIO())

    batches = [batch for _, batch in read(2, a_parquet=file.getvalue())]

    assert {batch["a"].dtype for batch in batches} == {parse_rows(file.getvalue(), "a.parquet")["a"].dtype}


LONE = {"a.csv": b"a,b\n1,2\n", "a.parquet": parquet(pd.DataFrame({"a": [1], "b": [2]}))}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.csv", b"a,b\n", "b.csv has no rows"),
        ("b.csv", b"", "b.csv is empty"),
        ("b.csv", b"b,c\n1,2\n", "b.csv has other columns than a.csv: it lacks column a, has column c"),
        ("b.csv", b"a,b\n1,2\n3\n", "b.csv, row 3: 1 cells under a header of 2"),
        ("b.parquet", LONE["a.parquet"], "b.parquet is a Parquet file, a.csv is not"),
        ("b.parquet", parquet(pd.DataFrame({"a": [1]})), "b.parquet has other columns than a.parquet: it lacks column"),
        ("b.parquet", parquet(pd.DataFrame({"a": ["x"], "b": 1})), "b.parquet has other types than .* a .*int.*string"),
        ("b.parquet", parquet(pd.DataFrame({"a": [1], "b": 1}).head(0)), "b.parquet has no rows"),
    ],
)
def test_a_part_that_does_not_fit_is_named(name: str, content: bytes, message: str) -> None:
    first = "a.csv" if "a.csv" in message or name == "b.csv" else "a.parquet"
    with pytest.raises(TableError, match=f"^{message}"):
        read(**{first.replace(".", "_"): LONE[first], name.replace(".", "_"): content})


def test_a_row_is_named_with_its_part_if_there_are_more() -> None:
    name = name_rows({"a.csv": 3, "b.csv": 1, "c.csv": 2})

    assert [name(row) for row in (0, 2, 3, 4, 5)] == [
        *["a.csv, row 2", "a.csv, row 4", "b.csv, row 2"],
        *["c.csv, row 2", "c.csv, row 3"],
    ]
    assert name_rows({"a.csv": 3})(2) == "row 4"


@pytest.mark.parametrize(
    ("given", "size", "lengths"), [(2, 4, [4, 4, 2]), (10, 4, [4, 4, 2]), (3, 4, [4, 4, 2]), (5, 5, [5, 5])]
)
def test_batches_get_another_size(given: int, size: int, lengths: list[int]) -> None:
    rows = pd.DataFrame({"a": range(10)})

    found = list(rebatch((rows[start : start + given] for start in range(0, 10, given)), size))

    assert [len(batch) for batch in found] == lengths
    pd.testing.assert_frame_equal(pd.concat(found, ignore_index=True), rows)


@pytest.mark.parametrize("statistics", [True, False])
def test_whole_numbers_stay_exact_unless_some_are_missing(statistics: bool) -> None:
    large = 2**53 + 1
    rows = pa.table({"id": [large, large + 1], "rooms": pa.array([3, None], pa.int64())})
    pq.write_table(rows, content := BytesIO(), write_statistics=statistics)

    found = parse_rows(content.getvalue(), "houses.parquet")

    assert found["id"].tolist() == [large, large + 1]
    assert found["rooms"].fillna(-1).tolist() == [3, -1]
