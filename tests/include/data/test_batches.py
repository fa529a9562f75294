"""A table in batches: the same results, rows and messages as for the whole of it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np
import pandas as pd
import pytest

from include.data.checks import Inspection, Inspector, inspect
from include.data.reading import TableError
from include.data.seen import Seen
from include.data.split import select_batches
from include.spec import Limits, Problem

from ...toy import AREA, DISTRICT, HOUSES, WITHOUT_ID, make_rows
from ..conftest import select

CELLS = {
    "address": ["Street 1", "Street 2", " Street 3", "7", "7.0", None],
    DISTRICT: ["west", " north", "NA", None],
    "index": ["a ", "z", "None"],
    AREA: ["large", "-1", "1e9", "310", " 60.5", "NAN", None],
    "lambda": ["99", "1_0", "n/a"],
    "price": ["free", "0.5", "-3", None],
}


def odd_tables(count: int, problem: Problem) -> Iterator[pd.DataFrame]:
    """Tables of text, as of a CSV file, in which some cells are odd and some rows are repeated; the same each time."""
    for seed in range(count):
        draw = random.Random(seed)
        rows = make_rows(draw.choice([12, 40, 90]), seed).astype("str")
        rows = pd.concat([rows, rows.sample(draw.randrange(4), random_state=seed)], ignore_index=True)
        for _ in range(draw.choice([0, 1, 5, 60])):
            column = draw.choice(list(CELLS))
            rows.loc[draw.randrange(len(rows)), column] = draw.choice(CELLS[column])
        yield rows if problem.row_id else rows.drop(columns="address")


def split(rows: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    return [rows.iloc[start : start + size] for start in range(0, len(rows), size)]


def inspect_batches(rows: pd.DataFrame, size: int, problem: Problem) -> Inspection:
    inspector = Inspector(problem)
    tables = [inspector.add(batch) for batch in split(rows, size)]
    return replace(inspector.finish(), table=pd.concat(tables))


@pytest.mark.parametrize("problem", [HOUSES, WITHOUT_ID], ids=["id", "no id"])
@pytest.mark.parametrize("shown", [3, 100])
def test_the_results_for_batches_are_those_for_the_whole(
    problem: Problem, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("schema", "checks"):
        monkeypatch.setattr(f"include.data.{module}.MAX_SHOWN", shown)
    usable = 0
    for number, rows in enumerate(odd_tables(24, problem)):
        whole = inspect(rows, problem)
        batches = inspect_batches(rows, ceil(len(rows) / (number % 5 + 2)), problem)
        assert batches.results == whole.results
        assert batches.rows == whole.rows
        if not whole.failures("error"):
            pd.testing.assert_frame_equal(batches.table, whole.table)
            usable += 1
    assert 4 < usable < 20, "tables of both kinds"


@pytest.mark.parametrize("problem", [HOUSES, WITHOUT_ID], ids=["id", "no id"])
def test_identity_and_split_of_batches_are_those_of_the_whole(problem: Problem) -> None:
    rows = pd.concat([make_rows(60), make_rows(60).sample(frac=0.8, random_state=0)], ignore_index=True)
    rows = rows if problem.row_id else rows.drop(columns="address")

    selected = pd.concat(select_batches(split(rows, 25), Inspector(problem), "rows", problem), ignore_index=True)

    pd.testing.assert_frame_equal(selected, select(rows, problem))
    assert len(selected) == (60 if problem.row_id else 108)


def test_a_missing_column_is_reported_once() -> None:
    rows = make_rows(90).drop(columns=[AREA, "address"])

    assert inspect_batches(rows, 30, HOUSES).results == inspect(rows, HOUSES).results


def test_errors_are_raised_when_all_batches_were_checked() -> None:
    rows = make_rows(90).astype({AREA: object})
    rows.loc[[3, 80], AREA] = "large"

    with pytest.raises(TableError) as caught:
        list(select_batches(split(rows, 30), Inspector(HOUSES), "houses.csv", HOUSES))

    assert str(caught.value).splitlines() == [
        "houses.csv cannot be used:",
        f"row 5, column {AREA}: large is not a number",
        f"row 82, column {AREA}: large is not a number",
    ]


def test_limits_hold_for_the_whole_table_and_not_for_each_batch() -> None:
    rows = make_rows(90)
    rows.loc[:19, AREA] = None
    rows.loc[30:59, "lambda"] = 3

    results = inspect_batches(rows, 30, replace(HOUSES, limits=Limits(usual_missing=0.25))).results

    assert not any(result.count for result in results)


def test_keys_are_found_with_their_first_row_and_counted() -> None:
    draw = np.random.default_rng(0)
    keys, seen = draw.integers(0, 300, 1000).astype(np.uint64), Seen()
    for start, size in ((0, 500), (500, 300), (800, 7), (807, 193)):
        asked = np.arange(320, dtype=np.uint64)
        before = pd.Series(keys[:start])
        assert seen.count(asked).tolist() == before.value_counts().reindex(asked, fill_value=0).tolist()
        first = before.drop_duplicates()
        assert seen.first(asked).tolist() == pd.Series(first.index, first).reindex(asked, fill_value=-1).tolist()
        seen.add(keys[start : start + size], np.arange(start, start + size))
