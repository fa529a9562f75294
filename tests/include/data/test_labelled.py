from __future__ import annotations

import logging

import pandas as pd
import pytest

from include.data.labelled import add_labelled

URI = "s3://data/labelled/new.csv"


def csv(animals: pd.DataFrame) -> bytes:
    return animals.drop(columns="split").to_csv(index=False).encode()


@pytest.fixture
def new(possums: pd.DataFrame) -> pd.DataFrame:
    """Two animals that the table does not have."""
    return possums.head(2).assign(case=[1001, 1002], hdlngth=[90.25, 91.25])


def test_new_animals_join_the_table_with_a_side_of_their_own(possums: pd.DataFrame, new: pd.DataFrame) -> None:
    table = add_labelled(possums, {URI: csv(new)})

    assert table["case"].tolist() == [*possums["case"], 1001, 1002]
    assert table["taill"].tolist()[-2:] == new["taill"].tolist()
    assert table["split"].isin(["train", "holdout"]).all()
    assert table.dtypes.equals(possums.dtypes)
    assert table.index.tolist() == list(range(106))


def test_an_animal_joins_once_whatever_its_number_and_file(possums: pd.DataFrame, new: pd.DataFrame) -> None:
    renamed = pd.concat([new.assign(case=[2001, 2002]), possums.head(1).assign(case=2003)])

    table = add_labelled(possums, {URI: csv(new), "s3://data/labelled/other.csv": csv(renamed)})

    assert table["case"].tolist() == [*possums["case"], 1001, 1002]


def test_an_animal_without_a_tail_length_waits(possums: pd.DataFrame, new: pd.DataFrame) -> None:
    new["taill"] = [36.0, None]

    assert add_labelled(possums, {URI: csv(new)})["case"].tolist() == [*possums["case"], 1001]


def test_a_number_that_another_animal_has_is_left_out_and_named(
    possums: pd.DataFrame, new: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    new["case"] = [7, 1002]

    with caplog.at_level(logging.WARNING):
        table = add_labelled(possums, {URI: csv(new)})

    assert table["case"].tolist() == [*possums["case"], 1002]
    assert f"Left out of {URI}: other animals have the numbers [7]" in caplog.text


def test_a_file_of_one_animal_of_which_little_is_known_is_enough(possums: pd.DataFrame, new: pd.DataFrame) -> None:
    table = add_labelled(possums, {URI: csv(new.head(1).assign(age=None, eye=None))})

    assert table["case"].tolist() == [*possums["case"], 1001]


def test_what_is_cleaned_and_unusual_is_in_the_log(
    possums: pd.DataFrame, new: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table = add_labelled(possums, {URI: csv(new.assign(taill=[360.0, 36.0], hdlngth=[90.25, 120.0]))})

    assert table["case"].tolist() == [*possums["case"], 1002]
    assert "row 2, column taill: 360 is impossible" in caplog.text
    assert "row 3, column hdlngth: 120.0 is rarely outside 74 to 114 mm" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no table of comma-separated values"),
        (b"case,site\n1,2\n", "column taill is missing"),
        (b"\xff\xfe", "is no table of comma-separated values"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_out_and_the_others_join(
    content: bytes, reason: str, possums: pd.DataFrame, new: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table = add_labelled(possums, {"s3://data/labelled/bad.csv": content, URI: csv(new)})

    assert len(table) == 106
    assert f"s3://data/labelled/bad.csv {'cannot be used' if 'column' in reason else reason}" in caplog.text
    assert reason in caplog.text
