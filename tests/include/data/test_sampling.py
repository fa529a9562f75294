from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from include.data.sampling import draw_rows, draw_sample
from include.spec import SPLIT

from ...toy import HOUSES


def make_labels(count: int) -> pd.DataFrame:
    """Rows of which every fourth is held out, and every tenth has no target."""
    numbers = np.arange(count)
    split = np.where(numbers % 4, "train", "holdout")
    price = np.where(numbers % 10, 1.0, np.nan)
    return pd.DataFrame({"address": numbers.astype(str), SPLIT: split, "price": price})


def test_few_rows_are_drawn_all_in_their_order() -> None:
    rows = make_labels(50).sample(frac=1, random_state=0)

    pd.testing.assert_frame_equal(draw_rows(rows, 50, HOUSES), rows)


def test_a_sample_of_a_sample_is_one_of_the_table() -> None:
    rows = make_labels(1000)

    twice = draw_rows(draw_rows(rows, 300, HOUSES), 100, HOUSES)

    assert len(twice) == 100
    pd.testing.assert_frame_equal(twice, draw_rows(rows, 100, HOUSES))


def test_new_rows_replace_as_many_as_their_share() -> None:
    rows = make_labels(11_000)

    before, after = (set(draw_rows(table, 1000, HOUSES).index) for table in (rows.head(10_000), rows))

    assert len(before & after) == pytest.approx(1000 * 10 / 11, abs=40)


def test_what_is_drawn_says_nothing_about_the_row() -> None:
    drawn = draw_rows(make_labels(100_000), 10_000, HOUSES)

    assert drawn.index.to_numpy().mean() == pytest.approx(50_000, abs=4 * 100_000 / 12**0.5 / 10_000**0.5)
    assert (drawn[SPLIT] == "holdout").mean() == pytest.approx(0.25, abs=4 * 0.0044)


@pytest.mark.parametrize("size", [1, 7, 200])
def test_each_side_is_drawn_by_itself_from_batches_of_any_size(size: int) -> None:
    rows = make_labels(200)
    batches = [rows[first : first + size] for first in range(0, 200, size)]

    drawn = rows[draw_sample(batches, HOUSES, training=30, holdout=20)]

    assert drawn["price"].notna().all()
    assert drawn[SPLIT].value_counts().to_dict() == {"train": 30, "holdout": 20}
    training = rows[(rows[SPLIT] == "train") & rows["price"].notna()]
    assert set(draw_rows(training, 30, HOUSES).index) == set(drawn[drawn[SPLIT] == "train"].index)


def test_without_rows_with_a_target_nothing_is_drawn() -> None:
    rows = make_labels(20).assign(price=np.nan)

    assert not draw_sample([rows], HOUSES, training=10, holdout=10).any()
