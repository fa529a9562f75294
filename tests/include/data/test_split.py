import pandas as pd
import pytest

from include.data.checks import inspect
from include.data.reading import TableError, parse_rows
from include.data.split import check_split, select_holdout, select_training, split_rows
from include.spec import SPLIT

from ...toy import AREA, DISTRICT, HOUSES, WITHOUT_ID, make_rows
from ..conftest import select


def parse(content: bytes, name: str = "houses.csv") -> dict[str, list[str]]:
    return parse_rows(content, name).to_dict("list")


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"a,b\r\n1,2\r\n",
        b'"a","b"\n"1","2"',
        b"\n\na,b\n\n1,2\n\n",
        b" a , b\n1,2\n",
    ],
    ids=["plain", "byte order mark", "Windows", "quotes", "empty lines", "blanks in the header"],
)
def test_a_csv_file_is_read_as_text(content: bytes) -> None:
    assert parse(content) == {"a": ["1"], "b": ["2"]}


def test_cells_of_a_csv_file_stay_as_they_are() -> None:
    assert parse(b'a,b\n007,NA\n"x, y","1\n2"\n') == {"a": ["007", "x, y"], "b": ["NA", "1\n2"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "houses.csv is empty: write a header and rows"),
        (b"\xef\xbb\xbf\n", "houses.csv is empty: write a header and rows"),
        (b"a,b\n", "houses.csv has no rows: add some below the header"),
        (b"a,b\n\n\n", "houses.csv has no rows: add some below the header"),
        (b"a;b\n1;2\n", "houses.csv is not separated by commas: save it with commas"),
        (b"a\tb\n1\t2\n", "houses.csv is not separated by commas: save it with commas"),
        (b"a,b\n1,2\n1,2,3\n", "houses.csv, row 3: 3 cells under a header of 2"),
        (b"a,b\n1,2,3\n4,5,6\n", "houses.csv, row 2: 3 cells under a header of 2"),
        (b"a,b\n1,2\n1\n", "houses.csv, row 3: 1 cells under a header of 2"),
        (b"a,b,a\n1,2,3\n", "houses.csv has more than one column 'a': rename or remove them"),
        (b"a,b,a \n1,2,3\n", "houses.csv has more than one column 'a': rename or remove them"),
        (b"a,,\n1,2,3\n", "houses.csv has more than one column '': rename or remove them"),
        (b'a,b\n1,"2\n', "houses.csv is not a table of comma-separated values in UTF-8: unexpected end"),
        (b"a,b\n1,Fran\xe7oise\n", "houses.csv is not a table of comma-separated values in UTF-8: 'utf-8' codec"),
        ("a,b\n1,2\n".encode("utf-16"), "houses.csv is not a table of comma-separated values in UTF-8: 'utf-8' codec"),
        (b"\x89PNG\r\n\x1a\n\x00", "houses.csv is not a table of comma-separated values in UTF-8: 'utf-8' codec"),
    ],
)
def test_a_file_that_is_not_a_table_is_one_error_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(TableError) as caught:
        parse(content)

    assert str(caught.value).startswith(message)


def test_the_table_has_id_inputs_target_and_split() -> None:
    table = select(make_rows().assign(remark="sunny")[["remark", *reversed(make_rows().columns)]])

    assert list(table) == ["address", DISTRICT, "index", AREA, "lambda", "price", SPLIT]
    assert table.dtypes.astype(str).tolist() == ["str", "str", "str", "float64", "float64", "float64", "str"]


def test_training_and_holdout_rows_have_a_target_and_share_no_row() -> None:
    table = select(make_rows().assign(price=make_rows()["price"].where(lambda price: price > 200)))
    training, holdout = select_training(table, HOUSES), select_holdout(table, HOUSES)

    assert table["price"].isna().any()
    assert len(training) + len(holdout) == table["price"].notna().sum()
    assert set(training[SPLIT]) == {"train"}
    assert set(holdout[SPLIT]) == {"holdout"}


def test_a_row_is_always_on_the_same_side() -> None:
    holdout = [identity for identity in map(str, range(1, 31)) if split_rows(pd.Series([identity]), 0.25)[0] != "train"]

    assert holdout == ["8", "9", "13", "29"]


def test_the_side_of_a_row_does_not_depend_on_the_others() -> None:
    few, many = make_rows(60), make_rows(120).sample(frac=1, random_state=0)
    one, other = (select(rows).set_index("address")[SPLIT] for rows in (few, many))

    assert other[one.index].to_dict() == one.to_dict()


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_the_holdout_has_its_share_of_many_rows(share: float) -> None:
    sides = split_rows(pd.Series(range(10_000)).astype(str), share)

    assert (sides == "holdout").mean() == pytest.approx(share, abs=0.015)


def test_without_an_id_replicates_of_a_few_settings_are_split_like_other_rows() -> None:
    rows = make_rows(4).drop(columns="address")
    table = select(pd.concat([rows.assign(price=rows["price"] + n) for n in range(100)]), WITHOUT_ID)

    assert table["_row"].is_unique
    assert (table[SPLIT] == "holdout").mean() == pytest.approx(0.25, abs=0.08)


def test_without_an_id_exact_copies_are_on_the_same_side() -> None:
    rows = make_rows().drop(columns="address")
    table = select(pd.concat([rows, rows], ignore_index=True), WITHOUT_ID)

    assert set(table[SPLIT]) == {"train", "holdout"}
    assert table[SPLIT].tolist()[:120] == table[SPLIT].tolist()[120:]


def test_without_an_id_equal_rows_are_kept_with_a_warning() -> None:
    rows = make_rows().drop(columns="address")
    inspection = inspect(pd.concat([rows, rows.head(3)], ignore_index=True), WITHOUT_ID)

    assert len(inspection.table) == 123
    assert inspection.failures("warning") == [
        "3 rows equal another one: kept, because rows have no id. Remove them if they are copies"
    ]


def test_without_an_id_more_rows_do_not_move_the_others() -> None:
    rows = make_rows(200).drop(columns="address")
    few, many = select(rows.tail(100), WITHOUT_ID), select(rows.sample(frac=1, random_state=1), WITHOUT_ID)

    merged = few.merge(many, on="_row", suffixes=("_few", "_many"))
    assert len(merged) == 100
    assert merged[f"{SPLIT}_few"].equals(merged[f"{SPLIT}_many"])


@pytest.mark.parametrize(("side", "minimum"), [("train", 10), ("holdout", 7)])
def test_a_side_with_too_few_rows_is_an_error_with_the_remedy(side: str, minimum: int) -> None:
    table = select(make_rows())
    few = pd.concat([table[table[SPLIT] != side], table[table[SPLIT] == side].head(minimum - 1)])

    check_split([table], HOUSES)
    with pytest.raises(
        TableError, match=rf"^{minimum - 1} \w+ rows have a target, {minimum} is the minimum: add rows, or"
    ):
        check_split([few], HOUSES)
