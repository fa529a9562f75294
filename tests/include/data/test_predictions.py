from __future__ import annotations

import math

import pandas as pd
import pytest

from include.data.predictions import attach, compare

NAN = math.nan


@pytest.fixture
def target() -> pd.DataFrame:
    return pd.DataFrame({"case": [30, 10, 20], "taill": [36.0, NAN, 40.0], "split": ["train", "holdout", "train"]})


def predictions(**by_case: float) -> pd.DataFrame:
    index = pd.Index([int(case.removeprefix("case_")) for case in by_case], name="case")
    lengths = pd.Series(list(by_case.values()), index)
    return pd.DataFrame({"prediction": lengths, "lower": lengths - 2, "upper": lengths + 2})


def test_predictions_stand_beside_the_truth_of_the_same_animal(target: pd.DataFrame) -> None:
    compared = compare(target, predictions(case_10=35.5, case_20=39.0, case_30=36.5))

    pd.testing.assert_frame_equal(
        compared,
        pd.DataFrame(
            {
                "case": [30, 10, 20],
                "true": [36.0, NAN, 40.0],
                "predicted": [36.5, 35.5, 39.0],
                "lower": [34.5, 33.5, 37.0],
                "upper": [38.5, 37.5, 41.0],
                "split": ["train", "holdout", "train"],
            }
        ),
    )


def test_the_order_of_the_predictions_does_not_matter(target: pd.DataFrame) -> None:
    one = compare(target, predictions(case_10=35.5, case_20=39.0, case_30=36.5))
    other = compare(target, predictions(case_30=36.5, case_10=35.5, case_20=39.0))

    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("predicted", "animals"),
    [
        (predictions(case_10=35.5, case_30=36.5), [20]),
        (predictions(case_10=35.5, case_20=NAN, case_30=36.5), [20]),
        (predictions(case_10=35.5), [30, 20]),
    ],
    ids=["no row", "no value", "several"],
)
def test_an_animal_without_prediction_is_named(
    target: pd.DataFrame, predicted: pd.DataFrame, animals: list[int]
) -> None:
    with pytest.raises(ValueError, match=rf"no prediction for animals \[{', '.join(map(str, animals))}\]"):
        compare(target, predicted)


def test_an_animal_predicted_twice_is_refused(target: pd.DataFrame) -> None:
    twice = pd.concat([predictions(case_10=1.0, case_20=2.0, case_30=3.0), predictions(case_10=4.0)])

    with pytest.raises(ValueError, match="not unique"):
        compare(target, twice)


def test_a_prediction_for_an_animal_outside_the_table_is_left_out(target: pd.DataFrame) -> None:
    compared = compare(target, predictions(case_10=35.5, case_20=39.0, case_30=36.5, case_40=41.0))

    assert compared["case"].tolist() == [30, 10, 20]


def test_a_model_without_intervals_leaves_them_empty(target: pd.DataFrame) -> None:
    point = predictions(case_10=35.5, case_20=39.0, case_30=36.5)[["prediction"]]

    assert compare(target, point)[["lower", "upper"]].isna().all(axis=None)


def test_rows_keep_their_columns_and_get_a_prediction_with_its_interval() -> None:
    rows = pd.DataFrame({"case": [10, 30], "sex": ["f", "m"]})

    attached = attach(rows, predictions(case_30=36.5, case_10=35.5))

    pd.testing.assert_frame_equal(
        attached,
        rows.assign(predicted=[35.5, 36.5], lower=[33.5, 34.5], upper=[37.5, 38.5]),
    )
