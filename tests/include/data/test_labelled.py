import logging
from collections.abc import Iterator

import pandas as pd
import pytest

from include.data.identity import describe_rows
from include.data.labelled import CONFLICT, KNOWN, RENAMED, ROW, TARGET, add_labelled, check_labelled
from include.data.reading import TableError
from include.spec import SPLIT, Problem

from ...toy import AREA, DISTRICT, HOUSES, WITHOUT_ID, in_csv, make_rows
from ..conftest import select

URI = "s3://data/labelled/new.csv"
TABLE = select(make_rows())
NEW = make_rows(2, seed=1).assign(address=["Avenue 1", "Avenue 2"])  # raw rows that the table does not have


def join(table: pd.DataFrame, problem: Problem = HOUSES, **files: pd.DataFrame) -> pd.DataFrame:
    return add(table, files, problem)[0]


def add(
    table: pd.DataFrame, files: dict[str, pd.DataFrame], problem: Problem = HOUSES, size: int = 50
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add files to a table in batches, and return it as a whole."""
    batches, report = add_labelled(lambda: [table[at : at + size] for at in range(0, len(table), size)], files, problem)
    return pd.concat(batches, ignore_index=True), report


def read(rows: pd.DataFrame, problem: Problem = HOUSES) -> pd.DataFrame:
    return check_labelled(in_csv(rows), URI, problem)


def test_labelled_rows_join_the_table_with_their_own_split() -> None:
    joined = join(TABLE, new=read(NEW))

    assert joined["address"].tolist() == [*TABLE["address"], "Avenue 1", "Avenue 2"]
    assert joined["price"].tolist()[-2:] == NEW["price"].tolist()
    assert joined[SPLIT].isin(["train", "holdout"]).all()
    assert joined.dtypes.equals(TABLE.dtypes)
    assert joined.index.tolist() == list(range(122))


def test_a_row_joins_once_even_from_two_files() -> None:
    again = pd.concat([NEW, make_rows().head(1)])

    joined = join(TABLE, new=read(NEW), other=read(again))

    assert joined["address"].tolist() == [*TABLE["address"], "Avenue 1", "Avenue 2"]


@pytest.mark.parametrize("problem", [HOUSES, WITHOUT_ID], ids=["id", "no id"])
def test_a_target_that_arrives_later_is_that_of_the_row(problem: Problem) -> None:
    rows = make_rows(60)
    waiting = rows.assign(price=rows["price"].where(rows.index >= 10))
    columns = [*([problem.row_id] if problem.row_id else []), *problem.inputs, "price"]
    table = select(waiting[columns], problem)

    joined = join(table, problem, new=read(rows.head(10)[columns], problem))

    pd.testing.assert_frame_equal(joined, select(rows[columns], problem))


def test_without_an_id_the_same_row_joins_once() -> None:
    rows = make_rows().drop(columns="address")
    table = select(rows, WITHOUT_ID)
    file = read(pd.concat([NEW, rows.head(3)]).drop(columns="address"), WITHOUT_ID)

    joined = join(table, WITHOUT_ID, new=file, other=file)

    assert len(joined) == 122
    assert joined["_row"].is_unique
    assert joined[SPLIT].tolist()[:120] == table[SPLIT].tolist()


def test_without_an_id_a_row_of_equal_inputs_is_numbered_through_all_batches() -> None:
    rows = make_rows().drop(columns="address")
    table = select(rows, WITHOUT_ID)

    joined = join(table, WITHOUT_ID, new=read(rows.head(1).assign(price=77.0), WITHOUT_ID))

    assert joined["_row"].tolist() == [*table["_row"], f"{table['_row'][0]}-2"]


def test_a_row_without_a_target_waits_for_it() -> None:
    assert read(NEW.assign(price=[350.0, None]))["address"].tolist() == ["Avenue 1"]


def test_a_row_with_the_id_of_another_joins_under_an_id_of_its_own() -> None:
    joined = join(TABLE, new=read(NEW.assign(address=["Street 7", "Street 8"])))

    assert len(joined) == 122
    assert joined["address"].is_unique
    assert joined["address"].tail(2).str.fullmatch(r"Street [78]~[0-9a-f]{8}").all()
    assert joined["price"].tolist()[-2:] == NEW["price"].tolist()
    assert joined[SPLIT].tolist()[-2:] == TABLE[SPLIT].tolist()[6:8]
    assert joined.dtypes.equals(TABLE.dtypes)


def test_field_numbers_that_begin_at_1_again_join_once_and_are_known_afterwards() -> None:
    fields = [read(make_rows(60, seed=seed)) for seed in (1, 2)]

    joined = join(TABLE, a=fields[0], b=fields[1])
    again, report = add(joined, {"a": fields[0], "b": fields[1]})

    assert len(joined) == len(again) == 240
    assert joined["address"].is_unique
    assert describe_rows(pd.concat(fields), HOUSES).isin(describe_rows(joined, HOUSES)).all()
    assert report["outcome"].tolist() == [KNOWN, KNOWN]
    assert report["rows"].tolist() == [60, 60]


def test_another_target_for_the_same_row_is_left_out_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    changed = make_rows().head(3).assign(price=[300.0, *make_rows()["price"][1:3]])

    with caplog.at_level(logging.WARNING):
        joined, report = add(TABLE, {URI: read(changed)})

    pd.testing.assert_frame_equal(joined, TABLE)
    assert report.set_index("outcome")["ids"].to_dict() == {CONFLICT: "Street 1", KNOWN: "Street 2, Street 3"}
    assert f"{URI}: 1 rows {CONFLICT}, such as Street 1" in caplog.text


def test_the_report_says_of_every_row_what_became_of_it() -> None:
    rows = make_rows()
    table = select(rows.assign(price=rows["price"].where(rows.index > 0)))
    renamed = NEW.head(1).assign(address="Street 9")

    _, report = add(table, {URI: read(pd.concat([rows.head(2), NEW, renamed]))})

    assert set(report["file"]) == {URI}
    assert dict(zip(report["outcome"], report["ids"], strict=True)) == {
        TARGET: "Street 1",
        KNOWN: "Street 2",
        ROW: "Avenue 1, Avenue 2",
        RENAMED: "Street 9",
    }


@pytest.mark.parametrize("count", [1, 20])
def test_the_table_is_read_twice_however_many_files_join(count: int) -> None:
    rows = make_rows(count, seed=1).assign(address=lambda rows: "Avenue " + rows["address"])
    reads: list[int] = []

    def read_table() -> Iterator[pd.DataFrame]:
        reads.append(0)
        for start in range(0, len(TABLE), 50):
            reads[-1] += 1
            yield TABLE[start : start + 50]

    batches, _ = add_labelled(read_table, {f"{number}": read(rows[number:][:1]) for number in range(count)}, HOUSES)

    assert len(pd.concat(batches)) == 120 + count
    assert reads == [3, 3]


def test_without_files_there_is_nothing_to_report() -> None:
    joined, report = add(TABLE, {"empty": read(make_rows()).head(0)})

    pd.testing.assert_frame_equal(joined, TABLE)
    assert report.empty


def test_one_row_with_missing_inputs_is_enough() -> None:
    assert len(read(NEW.head(1).assign(index=None, **{AREA: None, "lambda": None}))) == 1


def test_repairs_and_warnings_are_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        labelled = read(NEW.assign(price=[99_999.0, 350.0], **{AREA: [60.0, 310.0]}))

    assert labelled["address"].tolist() == ["Avenue 2"]
    assert "row 2, column price: 99999 is impossible (0 to 10000 k€), taken as missing" in caplog.text
    assert f"row 3, column {AREA}: 310.0 is outside of the expected 20 to 300 m²" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", f"{URI} is empty"),
        (b"address,price\nAvenue 1,2\n", f"column {DISTRICT} is missing"),
        (b"\xff\xfe", f"{URI} is not a table of comma-separated values"),
        (in_csv(make_rows(20).assign(price=make_rows(20)["price"] * 1000)), "Is it in another unit?"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(TableError) as caught:
        check_labelled(content, URI, HOUSES)

    assert str(caught.value).startswith(URI)
    assert reason in str(caught.value)
