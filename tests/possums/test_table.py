"""The possum table and what the pipeline makes of it."""

import pandas as pd

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.data.split import select_holdout, select_training
from include.problem import PROBLEM
from include.settings import INCLUDE
from include.spec import SPLIT


def test_the_table_passes_every_check_and_has_three_missing_cells(possums: pd.DataFrame) -> None:
    rows = parse_rows((INCLUDE.parent / PROBLEM.table).read_bytes(), PROBLEM.table)
    missing = possums[PROBLEM.inputs].isna().sum()

    assert inspect(rows, PROBLEM).is_clean
    assert len(possums) == 104
    assert missing[missing > 0].to_dict() == {"age": 2, "footlgth": 1}


def test_23_of_104_possums_are_held_out(possums: pd.DataFrame) -> None:
    held_out = possums.loc[possums[SPLIT] == "holdout", "case"].astype(int).tolist()

    assert (len(select_training(possums, PROBLEM)), len(select_holdout(possums, PROBLEM))) == (81, 23)
    assert held_out[:4] == [8, 9, 13, 29]


def test_sites_and_cases_are_text(possums: pd.DataFrame) -> None:
    assert sorted(possums["site"].unique()) == list("1234567")
    assert possums["case"].tolist() == [str(number) for number in range(1, 105)]
