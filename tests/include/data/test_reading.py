from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest

from include.data import reading
from include.data.checks import check_inputs, inspect
from include.data.predictions import attach
from include.data.reading import TableError, parse_rows
from include.data.split import select_rows
from include.spec import Problem

from ...toy import DISTRICT, HOUSES, make_rows

WITHOUT_ID = replace(HOUSES, row_id=None)


def select(rows: pd.DataFrame, problem: Problem = HOUSES) -> pd.DataFrame:
    return select_rows(inspect(rows, problem), "houses.csv", problem)


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
    odd = [
        "1e300",
        "2e300",
        "1e-320",
        "1e400",
        "9" * 400,
        "inf",
        "nan",
        "-0",
        "0x10",
        "1_000",
        "\uff11\uff12",
        "1,5",
        "=1+1",
    ]
    odd += [
        "\x00",
        "x" * 5000,
        "True",
        "'",
        '"',
        "\n",
        "\r",
        "\ta ",
        "\u202e",
        "\ufeff",
        "é漢😀",
        "1.0",
        "01",
        "Street 1~0a1b2c3d",
    ]
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
