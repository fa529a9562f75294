from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from include.config import POSSUM_CSV
from include.data.table import HOLDOUT_SHARE, TableError, hash_table, read_possums, remove_known, split_animals

HEADER = "case,site,Pop,sex,age,hdlngth,skullw,totlngth,taill,footlgth,earconch,eye,chest,belly"
ROWS = [
    "1,1,Vic,m,8.0,94.1,60.4,89.0,36.0,74.5,54.5,15.2,28.0,36.0",
    "2,1,Vic,f,,92.5,57.6,91.5,36.5,72.5,51.2,16.0,28.5,33.0",
    "3,2,other,f,6.0,94.0,60.0,95.5,,75.4,51.9,15.5,30.0,34.0",
]
COLUMNS = HEADER.split(",")
GOOD = "\n".join([HEADER, *ROWS, ""])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(content: str) -> Path:
        file = tmp_path / "animals.csv"
        file.write_bytes(content.encode("latin-1"))
        return file

    return write_file


def with_cell(row: int, column: str, value: str) -> str:
    """The good table with one other cell; rows count as in a spreadsheet, the header is row 1."""
    lines = [line.split(",") for line in [HEADER, *ROWS]]
    lines[row - 1][COLUMNS.index(column)] = value
    return "\n".join(map(",".join, lines))


def without_column(column: str) -> str:
    left_out = COLUMNS.index(column)
    lines = [line.split(",") for line in [HEADER, *ROWS]]
    return "\n".join(",".join(line[:left_out] + line[left_out + 1 :]) for line in lines)


def complaint_about(file: Path) -> str:
    with pytest.raises(TableError) as caught:
        read_possums(file)
    return str(caught.value)


def test_a_good_table_has_the_same_types_whatever_its_values(write: Callable[[str], Path]) -> None:
    whole_numbers = with_cell(2, "hdlngth", "94").replace("92.5", "92").replace("94.0", "94")

    types = read_possums(write(whole_numbers)).dtypes.astype(str).to_dict()

    assert types == dict.fromkeys(COLUMNS, "float64") | {"case": "int64", "site": "int64"} | dict.fromkeys(
        ["Pop", "sex", "split"], "str"
    )


def test_a_missing_measurement_stays_missing(write: Callable[[str], Path]) -> None:
    table = read_possums(write(GOOD))

    assert table["age"].isna().tolist() == [False, True, False]
    assert table["taill"].isna().tolist() == [False, False, True]


def test_columns_are_found_by_name_and_others_left_out(write: Callable[[str], Path]) -> None:
    expected = read_possums(write(GOOD))
    lines = [HEADER + ",note", *(f"{row},3" for row in ROWS)]
    turned = "\n".join(",".join(reversed(line.split(","))) for line in lines)

    pd.testing.assert_frame_equal(read_possums(write(turned)), expected)


def test_the_real_table_is_good() -> None:
    table = read_possums(POSSUM_CSV)

    assert table.shape == (104, 15)
    assert table.isna().sum().loc[lambda counts: counts > 0].to_dict() == {"age": 2, "footlgth": 1}


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("age", "old", "old is not a number"),
        ("age", '"8,0"', "8,0 is not a number"),
        ("Pop", "Tas", "Tas must be one of Vic, other"),
        ("Pop", "", "is missing"),
        ("sex", "x", "x must be one of f, m"),
        ("sex", "", "is missing"),
        ("site", "", "is missing"),
        ("site", "north", "north is not a number"),
        ("site", "1.5", "1.5"),
        ("case", "", "is missing"),
        ("case", "2.5", "2.5"),
    ],
)
def test_a_bad_cell_is_named_by_file_row_and_column(
    write: Callable[[str], Path], column: str, value: str, fault: str
) -> None:
    file = write(with_cell(3, column, value))

    named, *faults = complaint_about(file).splitlines()

    assert str(file) in named
    assert [line.partition(": ")[0] for line in faults] == [f"row 3, column {column}"]
    assert fault in faults[0]


def test_every_row_of_a_duplicate_case_is_named(write: Callable[[str], Path]) -> None:
    file = write(with_cell(4, "case", "1"))

    assert complaint_about(file).splitlines()[1:] == [
        "row 2, column case: 1 occurs more than once",
        "row 4, column case: 1 occurs more than once",
    ]


def test_all_faults_are_told_at_once(write: Callable[[str], Path]) -> None:
    file = write(with_cell(2, "Pop", "Tas").replace(",95.5,", ",long,"))

    assert sorted(complaint_about(file).splitlines()[1:]) == [
        "row 2, column Pop: Tas must be one of Vic, other",
        "row 4, column totlngth: long is not a number",
    ]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(write: Callable[[str], Path], column: str) -> None:
    file = write(without_column(column))

    named, *faults = complaint_about(file).splitlines()

    assert str(file) in named
    assert [line.partition(";")[0] for line in faults] == [f"column {column} is missing"]


def test_a_renamed_column_is_named_by_both_names(write: Callable[[str], Path]) -> None:
    complaint = complaint_about(write(GOOD.replace("hdlngth", "head")))

    assert "column hdlngth is missing" in complaint
    assert complaint.endswith("head")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param("", "No columns", id="empty"),
        pytest.param(HEADER, "no rows", id="header only"),
        pytest.param(HEADER + "\n\n", "no rows", id="header and blank lines"),
        pytest.param(GOOD + "4,2,other,f,6,94,60,95,36,75,51,15,30,34,1\n", r"(row|line) 5\b", id="row too long"),
        pytest.param(GOOD + "4,2,other,f,6,94\n", r"(row|line) 5\b", id="row too short"),
        pytest.param("\n".join([HEADER, *(f"{row},7" for row in ROWS)]), r"(row|line) 2\b", id="all rows too long"),
        pytest.param(GOOD + '4,2,"other,f,6', r"inside string|end of data", id="open quote"),
        pytest.param(GOOD.replace("Vic", "Vi\xe7"), "utf-8", id="not utf-8"),
        pytest.param(with_cell(2, "taill", "").replace(",36.5,", ",,"), "column taill: every value is", id="no target"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_reason(
    write: Callable[[str], Path], content: str, fault: str
) -> None:
    file = write(content)

    complaint = complaint_about(file)

    assert str(file) in complaint
    assert re.search(fault, complaint.replace(str(file), ""))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert complaint_about(tmp_path / "animals.csv").startswith(f"{tmp_path / 'animals.csv'} is missing")


def test_an_animal_never_changes_sides() -> None:
    holdout = [case for case in range(1, 31) if split_animals(pd.Series([case])).item() == "holdout"]

    assert holdout == [8, 9, 13, 29]


def test_an_animals_side_depends_on_no_other_animal() -> None:
    few = pd.Series([5, 9, 14, 2], index=[5, 9, 14, 2])
    many = pd.Series(range(1, 101), index=range(1, 101)).sample(frac=1, random_state=0)

    assert split_animals(many)[few.index].to_dict() == split_animals(few).to_dict()


def test_the_holdout_has_its_share_of_many_animals() -> None:
    assert (split_animals(pd.Series(range(10_000))) == "holdout").mean() == pytest.approx(HOLDOUT_SHARE, abs=0.015)


def test_a_copy_has_the_same_hash() -> None:
    table = pd.DataFrame({"case": [1, 2], "age": [3.0, None]})

    assert hash_table(table) == hash_table(table.copy())


@pytest.mark.parametrize(
    "other",
    [
        pd.DataFrame({"case": [1, 3], "age": [3.0, None]}),
        pd.DataFrame({"case": [1, 2], "age": [3.0, 0.0]}),
        pd.DataFrame({"case": [1, 2], "age": [3.0 + 1e-15, None]}),
        pd.DataFrame({"case": ["1", "2"], "age": [3.0, None]}),
        pd.DataFrame({"case": [1, 2], "Age": [3.0, None]}),
        pd.DataFrame({"case": [2, 1], "age": [None, 3.0]}),
        pd.DataFrame({"age": [3.0, None], "case": [1, 2]}),
        pd.DataFrame({"case": [1], "age": [3.0]}),
    ],
    ids=["cell", "missing cell", "last digit", "type", "column name", "row order", "column order", "fewer rows"],
)
def test_another_table_has_another_hash(other: pd.DataFrame) -> None:
    assert hash_table(other) != hash_table(pd.DataFrame({"case": [1, 2], "age": [3.0, None]}))


def test_known_animals_are_no_news_and_others_count_once(possums: pd.DataFrame) -> None:
    new = possums.head(2).assign(hdlngth=[80.1, 80.2])
    recent = pd.concat([possums.assign(case=possums["case"] + 500), new, new.astype({"site": float})])

    assert remove_known(recent, possums)["hdlngth"].tolist() == [80.1, 80.2]


def test_an_animal_is_known_though_its_numbers_went_through_text(possums: pd.DataFrame) -> None:
    through_text = possums.assign(hdlngth=possums["hdlngth"] + 1e-12, site=possums["site"].astype(str))

    assert remove_known(through_text, possums).empty


def test_no_animals_are_no_news(possums: pd.DataFrame) -> None:
    assert remove_known(possums.head(0), possums).empty
