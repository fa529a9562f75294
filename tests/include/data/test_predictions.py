import math
from dataclasses import replace

import pandas as pd
import pytest

from include.data.predictions import PredictionError, attach, compare, describe_warnings

from ...toy import AREA, DISTRICT, HOUSES

NAN = math.nan
TARGET = pd.DataFrame(
    {"address": ["30", "10", "20"], "price": [360.0, NAN, 400.0], "_split": ["train", "holdout", "train"]}
)


def predictions(prices: dict[str, float]) -> pd.DataFrame:
    """Predictions by address, with intervals of 20 to each side."""
    predicted = pd.Series(prices, dtype=float)
    return pd.DataFrame({"prediction": predicted, "lower": predicted - 20, "upper": predicted + 20})


def test_predictions_are_beside_the_true_value_of_the_same_row() -> None:
    compared = compare(TARGET, predictions({"10": 355.0, "20": 390.0, "30": 365.0}), HOUSES)

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
                "warnings": ["", "", ""],
            }
        ),
    )


@pytest.mark.parametrize("name", ["split", "case", "index", "k€ (2026)"])
def test_a_target_may_have_any_name(name: str) -> None:
    gate = replace(HOUSES.gate, subgroup_max_rmse={})
    problem = replace(HOUSES, features=HOUSES.features[2:], target=replace(HOUSES.target, name=name), gate=gate)

    compared = compare(TARGET.rename(columns={"price": name}), predictions({"10": 1, "20": 2, "30": 3}), problem)

    assert list(compared) == ["address", "true", "predicted", "lower", "upper", "split", "warnings"]


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({"10": 355.0, "30": 365.0}, "1 rows have no prediction, such as address 20"),
        ({"10": 355.0, "20": NAN, "30": 365.0}, "1 rows have no prediction, such as address 20"),
        ({"10": 355.0, "20": math.inf, "30": 365.0}, "1 rows have no prediction, such as address 20"),
        ({"10": 355.0}, "2 rows have no prediction, such as address 30, address 20"),
    ],
    ids=["no row", "no value", "infinite", "several"],
)
def test_a_row_without_a_prediction_is_named(predicted: dict[str, float], message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        compare(TARGET, predictions(predicted), HOUSES)


def test_a_row_predicted_twice_is_refused() -> None:
    twice = pd.concat([predictions({"10": 1.0, "20": 2.0, "30": 3.0}), predictions({"10": 4.0})])

    with pytest.raises(PredictionError, match="the predictions have the same address more than once"):
        compare(TARGET, twice, HOUSES)


def test_a_prediction_for_a_row_outside_of_the_table_is_left_out() -> None:
    compared = compare(TARGET, predictions({"10": 355.0, "20": 390.0, "30": 365.0, "40": 410.0}), HOUSES)

    assert compared["address"].tolist() == ["30", "10", "20"]


def test_a_model_without_intervals_leaves_them_empty() -> None:
    point = predictions({"10": 355.0, "20": 390.0, "30": 365.0})[["prediction"]]

    assert compare(TARGET, point, HOUSES)[["lower", "upper"]].isna().all(axis=None)


def test_rows_keep_their_columns_and_get_a_prediction_with_its_interval() -> None:
    rows = pd.DataFrame({"address": ["10", "30"], "split": ["north", "south"]}, index=[7, 8])

    attached = attach(rows, predictions({"30": 365.0, "10": 355.0}), HOUSES)

    pd.testing.assert_frame_equal(
        attached, rows.assign(predicted=[355.0, 365.0], lower=[335.0, 345.0], upper=[375.0, 385.0], warnings="")
    )


@pytest.mark.parametrize("number", [-0.1, 10_000.5])
def test_a_prediction_that_cannot_be_true_is_refused_with_row_and_value(number: float) -> None:
    with pytest.raises(
        PredictionError, match=rf"^1 predictions are impossible \(0 to 10000 k€\): address 10: {number:g}\."
    ):
        compare(TARGET, predictions({"10": number, "20": 0.0, "30": 10_000.0}), HOUSES)


def test_of_many_impossible_predictions_a_hundred_are_named() -> None:
    rows = pd.DataFrame({"address": [f"Street {number}" for number in range(1000)]})

    with pytest.raises(PredictionError, match=r"^1000 predictions are impossible") as caught:
        attach(rows, predictions(dict.fromkeys(rows["address"], -5.0)), HOUSES)
    assert str(caught.value).count("Street") == 100


def test_a_cell_outside_of_its_expected_range_is_named_beside_the_prediction() -> None:
    rows = pd.DataFrame({"address": ["10", "30", "40"], AREA: [60.0, 0.5, NAN], "lambda": [3.0, 13.0, 2.0]})

    attached = attach(rows, predictions({"10": 355.0, "30": 365.0, "40": 1.0}), HOUSES)

    assert attached["warnings"].tolist() == [
        "",
        f"{AREA} 0.5 is outside of the expected 20 to 300 m²; lambda 13 is outside of the expected 1 to 12",
        "",
    ]


def test_a_level_that_the_model_has_not_seen_is_named_beside_the_prediction() -> None:
    rows = pd.DataFrame({"address": ["10", "30"], DISTRICT: ["north", "south"], "index": ["a", None]})
    predicted = predictions({"10": 355.0, "30": 365.0}).assign(unseen=["", "split, index"])

    warnings = attach(rows, predicted, HOUSES)["warnings"].tolist()

    assert warnings == [
        "",
        "no training row has split south: the prediction may be wrong, its interval too narrow; "
        "no training row has index missing: the prediction may be wrong, its interval too narrow",
    ]


@pytest.mark.parametrize("unseen", [[None, None], [NAN, NAN], ["", ""]])
def test_a_model_that_does_not_tell_gives_no_warning(unseen: list[object]) -> None:
    rows = pd.DataFrame({DISTRICT: ["north", "south"]}, index=[3, 4])

    assert describe_warnings(rows, pd.Series(unseen, rows.index, dtype=object), HOUSES).tolist() == ["", ""]
