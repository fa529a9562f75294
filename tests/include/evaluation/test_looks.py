from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.evaluation import looks
from include.evaluation.scores import MIN_ROWS
from tests.toy import AREA, HOUSES, make_rows

EARLIER: list[dict[str, Any]] = [
    {"version": "4", "look": 3, "rmse": 1.1, "predictions": "d", "champion": "3", "champion_rmse": 1.5},
    {"version": "2", "look": 1, "rmse": 1.2, "predictions": "b", "champion": "1", "champion_rmse": 1.3},
    {"version": "3", "look": 2, "rmse": 1.4, "predictions": "c", "champion": "", "champion_rmse": None},
]


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_all_looks_together_spend_no_more_than_the_whole(confidence: float) -> None:
    spent = [looks.spend(confidence, look) for look in range(1, 10_000)]

    assert sum(spent) == pytest.approx(1 - confidence, rel=1e-3)
    assert sum(spent) < 1 - confidence
    assert spent[0] == pytest.approx((1 - confidence) / 2)


def select(rows: pd.DataFrame, *slices: pd.DataFrame) -> tuple[list[str], bool]:
    chosen, is_new = looks.select_slice(rows, [earlier["address"] for earlier in slices], HOUSES)
    assert chosen.index.tolist() == list(range(len(chosen)))
    return chosen["address"].tolist(), is_new


@pytest.mark.parametrize(("count", "is_slice"), [(30, True), (MIN_ROWS - 1, False)])
def test_the_first_evaluation_takes_all_rows_which_are_a_slice_unless_they_are_too_few(
    count: int, is_slice: bool
) -> None:
    rows = make_rows(count)

    assert select(rows) == (rows["address"].tolist(), is_slice)


def test_a_slice_is_used_until_there_are_as_many_fresh_rows() -> None:
    rows = make_rows(60)
    first = rows.head(30)

    assert select(rows.head(59), first) == (first["address"].tolist(), False)
    assert select(rows, first) == (rows["address"].tolist()[30:], True)
    assert select(rows, first, rows.tail(30)) == (rows["address"].tolist()[30:], False)


def test_rows_that_a_model_was_trained_on_no_longer_count_for_a_slice() -> None:
    rows = make_rows(60)

    assert select(rows.iloc[20:41], rows.head(30)) == (rows["address"].tolist()[30:41], True)
    assert select(rows.iloc[20:35], rows.head(30)) == (rows["address"].tolist()[20:30], False)


def test_rows_in_other_units_are_not_fresh() -> None:
    """Else a whole table in metres would begin a new slice, on which no champion's error is recorded."""
    rows = make_rows(30)

    assert select(rows.assign(**{AREA: rows[AREA] * 10}), rows) == (rows["address"].tolist(), False)


@pytest.mark.parametrize("offset", [0, 1e6], ids=["near zero", "far from zero"])
def test_predictions_have_the_same_fingerprint_only_if_they_differ_by_rounding(offset: float) -> None:
    predictions = pd.Series(np.random.default_rng(0).normal(offset, 1, 23))
    other = predictions + np.where(predictions.index == 5, 1e-4, 0)

    assert looks.fingerprint(predictions) == looks.fingerprint(predictions.copy() + 1e-10)
    assert looks.fingerprint(predictions) != looks.fingerprint(other)
    assert looks.are_same(predictions + 1e-10, predictions)
    assert not looks.are_same(other, predictions)


def test_constant_predictions_have_fingerprints_too() -> None:
    zeros = pd.Series([0.0, -0.0, 0.0])

    assert looks.fingerprint(zeros) == looks.fingerprint(zeros.abs()) != looks.fingerprint(zeros + 1)
    assert looks.are_same(zeros, zeros.abs())
    assert not looks.are_same(zeros, zeros + 1)


def test_looks_are_counted_by_what_was_predicted() -> None:
    assert looks.count_look("a", []) == 1
    assert looks.count_look("a", EARLIER) == 4
    assert looks.count_look("c", EARLIER) == 2


def test_the_first_error_that_was_measured_is_the_recorded_one() -> None:
    assert looks.recorded_errors(EARLIER) == {"1": 1.3, "2": 1.2, "3": 1.4, "4": 1.1}


@pytest.mark.parametrize(
    ("champions", "champion", "version", "best"),
    [
        ({"1", "2", "3"}, "3", "5", "2"),
        ({"1", "2", "3"}, "2", "5", ""),
        ({"1", "2", "3"}, "3", "2", "1"),
        ({"3"}, "3", "5", ""),
        ({"1", "9"}, "9", "5", "1"),
        (set(), "", "5", ""),
    ],
    ids=["an earlier one", "the present one", "not the challenger", "never champion", "not measured", "none"],
)
def test_the_best_champion_is_the_one_with_the_smallest_recorded_error(
    champions: set[str], champion: str, version: str, best: str
) -> None:
    assert looks.best_champion(EARLIER, champions, champion, version) == best
