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


def draw_holdout(rows: pd.DataFrame, most: int, *slices: pd.DataFrame) -> pd.DataFrame:
    drawn = draw_sample([rows], HOUSES, training=0, holdout=most, slices=[ids["address"] for ids in slices])
    return rows[drawn]


def test_holdout_rows_of_a_slice_stay_and_others_come_at_its_rate() -> None:
    rows = make_labels(20_000)
    before = draw_holdout(rows.head(10_000), 500)

    grown = draw_holdout(rows, 500, before)

    assert set(before.index) < set(grown.index)
    assert len(grown) - len(before) == pytest.approx(500, abs=4 * 500**0.5)
    assert grown.index.difference(before.index).min() >= 10_000
    pd.testing.assert_frame_equal(draw_holdout(rows.head(10_000), 500, before), before)


def test_rows_of_earlier_slices_are_not_drawn_again() -> None:
    rows = make_labels(20_000)
    first = draw_holdout(rows.head(10_000), 500)
    second = draw_holdout(rows, 500, first).drop(first.index)

    drawn = draw_holdout(rows, 500, first, second)

    pd.testing.assert_frame_equal(drawn, second)


def test_if_all_rows_of_a_slice_are_gone_as_many_are_drawn_as_without_it() -> None:
    rows = make_labels(10_000)
    gone = draw_holdout(rows, 100)

    assert len(draw_holdout(rows.drop(gone.index), 100, gone)) == 100


def test_few_holdout_rows_are_drawn_all_whatever_the_slices() -> None:
    rows = make_labels(100)
    everything = draw_holdout(rows, 100)

    pd.testing.assert_frame_equal(draw_holdout(rows, 100, everything.head(5), everything.head(9)), everything)
