from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from include.data.predictions import attach, compare

from ...toy import HOUSES

NAN = math.nan


@pytest.fixture
def target() -> pd.DataFrame:
    return pd.DataFrame(
        {"address": ["30", "10", "20"], "price": [360.0, NAN, 400.0], "_split": ["train", "holdout", "train"]}
    )


def predictions(prices: dict[str, float]) -> pd.DataFrame:
    """Predictions by address, with intervals of 20 to each side."""
    predicted = pd.Series(prices, dtype=float)
    return pd.DataFrame({"prediction": predicted, "lower": predicted - 20, "upper": predicted + 20})


def test_predictions_are_beside_the_true_value_of_the_same_row(target: pd.DataFrame) -> None:
    compared = compare(target, predictions({"10": 355.0, "20": 390.0, "30": 365.0}), HOUSES)

    pd.testing.assert_frame_equal(
        compared,
        pd.DataFrame(
            {
                "address": ["30", "10", "20"],
                "true": [360.0, NAN, 400.0],
                "predicted": [365.0, 355.0, 390.0],
                "lower": [345.0, 335.0, 370.0],
                "upper": [385.0, 375.0, 410.0],
                "split": ["train", "holdout", "train"],
            }
        ),
    )


def test_the_order_of_the_predictions_does_not_matter(target: pd.DataFrame) -> None:
    one = compare(target, predictions({"10": 355.0, "20": 390.0, "30": 365.0}), HOUSES)
    other = compare(target, predictions({"30": 365.0, "10": 355.0, "20": 390.0}), HOUSES)

    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("name", ["split", "case", "index", "k€ (2026)"])
def test_a_target_may_have_any_name(target: pd.DataFrame, name: str) -> None:
    gate = replace(HOUSES.gate, subgroup_max_rmse={})
    problem = replace(HOUSES, features=HOUSES.features[2:], target=replace(HOUSES.target, name=name), gate=gate)

    compared = compare(target.rename(columns={"price": name}), predictions({"10": 1, "20": 2, "30": 3}), problem)

    assert list(compared) == ["address", "true", "predicted", "lower", "upper", "split"]


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({"10": 355.0, "30": 365.0}, "1 rows have no prediction, such as address 20"),
        ({"10": 355.0, "20": NAN, "30": 365.0}, "1 rows have no prediction, such as address 20"),
        ({"10": 355.0, "20": math.inf, "30": 365.0}, "1 rows have no prediction, such as address 20"),
        ({"10": 355.0}, "2 rows have no prediction, such as address 30, 20"),
    ],
    ids=["no row", "no value", "infinite", "several"],
)
def test_a_row_without_a_prediction_is_named(target: pd.DataFrame, predicted: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(target, predictions(predicted), HOUSES)


def test_a_row_predicted_twice_is_refused(target: pd.DataFrame) -> None:
    twice = pd.concat([predictions({"10": 1.0, "20": 2.0, "30": 3.0}), predictions({"10": 4.0})])

    with pytest.raises(ValueError, match="the predictions have the same address more than once"):
        compare(target, twice, HOUSES)


def test_a_prediction_for_a_row_outside_of_the_table_is_left_out(target: pd.DataFrame) -> None:
    compared = compare(target, predictions({"10": 355.0, "20": 390.0, "30": 365.0, "40": 410.0}), HOUSES)

    assert compared["address"].tolist() == ["30", "10", "20"]


def test_a_model_without_intervals_leaves_them_empty(target: pd.DataFrame) -> None:
    point = predictions({"10": 355.0, "20": 390.0, "30": 365.0})[["prediction"]]

    assert compare(target, point, HOUSES)[["lower", "upper"]].isna().all(axis=None)


def test_rows_keep_their_columns_and_get_a_prediction_with_its_interval() -> None:
    rows = pd.DataFrame({"address": ["10", "30"], "split": ["north", "south"]}, index=[7, 8])

    attached = attach(rows, predictions({"30": 365.0, "10": 355.0}), HOUSES)

    pd.testing.assert_frame_equal(
        attached, rows.assign(predicted=[355.0, 365.0], lower=[335.0, 345.0], upper=[375.0, 385.0])
    )
