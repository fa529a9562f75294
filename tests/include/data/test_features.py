import math
from dataclasses import replace

import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from include.data.features import build_transformer, compute_features, feature_names
from include.spec import Category, Number, Problem

from ...toy import AREA, DISTRICT, HOUSES, make_rows

NAN = math.nan
# Four training rows; the median number of rooms is 4, the mean with it 4.75.
ROWS = pd.DataFrame(
    {
        DISTRICT: ["north", "north", "north", "south"],
        "index": ["b", "a", "a", "a"],
        AREA: [90.0, 92.0, 94.0, 100.0],
        "lambda": [2.0, NAN, 4.0, 9.0],
    },
    index=[11, 12, 13, 14],
)
TRANSFORMER = build_transformer(HOUSES).fit(ROWS)


def problem_of(*features: Category | Number) -> Problem:
    return replace(HOUSES, features=features, gate=replace(HOUSES.gate, subgroup_max_rmse={}))


def fit(rows: pd.DataFrame, problem: Problem) -> Pipeline:
    return build_transformer(problem).fit(rows[problem.inputs])


def test_features_are_named_after_columns_and_categories() -> None:
    assert list(compute_features(ROWS, TRANSFORMER, HOUSES)) == [
        "feature_split_north",
        "feature_split_south",
        "feature_index_a",
        "feature_index_b",
        f"feature_{AREA}",
        "feature_lambda",
    ]


def test_a_feature_is_its_distance_from_the_mean_in_standard_deviations() -> None:
    features = compute_features(ROWS, TRANSFORMER, HOUSES)

    deviation = math.sqrt((2.75**2 + 0.75**2 + 0.75**2 + 4.25**2) / 4)
    assert features["feature_lambda"].tolist() == pytest.approx(
        [-2.75 / deviation, -0.75 / deviation, -0.75 / deviation, 4.25 / deviation]
    )
    assert features["feature_split_south"].tolist() == pytest.approx([*[-math.sqrt(1 / 3)] * 3, math.sqrt(3)])


def test_a_missing_number_becomes_the_training_median() -> None:
    missing, median = (
        compute_features(ROWS.head(1).assign(**{"lambda": rooms}), TRANSFORMER, HOUSES) for rooms in (NAN, 4.0)
    )

    pd.testing.assert_frame_equal(missing, median)


@pytest.mark.parametrize("value", ["west", "", "missing", None])
def test_an_unknown_category_is_encoded_as_zeros(value: str | None) -> None:
    encoded = TRANSFORMER[0].transform(ROWS.head(1).assign(**{DISTRICT: value}))

    assert encoded[0, :2].tolist() == [0, 0]


def test_a_missing_category_is_a_category() -> None:
    rows = ROWS.assign(index=pd.Series(["b", None, "a", "a"], ROWS.index, dtype="str"))
    transformer = fit(rows, HOUSES)

    assert "feature_index_missing" in feature_names(transformer, HOUSES)
    features = compute_features(rows, transformer, HOUSES)
    assert features["feature_index_missing"].idxmax() == 12


def test_columns_without_any_value_are_features_that_say_nothing() -> None:
    empty = ROWS.assign(index=pd.Series(NAN, ROWS.index, dtype="str"), **{"lambda": NAN})
    features = compute_features(empty, fit(empty, HOUSES), HOUSES)

    assert features["feature_index_missing"].tolist() == [0] * 4
    assert features["feature_lambda"].tolist() == [0] * 4


def test_rare_categories_share_a_feature_and_unknown_ones_are_among_them() -> None:
    problem = problem_of(Category("street"), Number("lambda"))
    common = [f"street {number}" for number in range(49) for _ in range(3)]
    streets = pd.DataFrame({"street": [*common, *(f"lane {number}" for number in range(4951))], "lambda": 1.0})
    transformer = fit(streets, problem)
    names = feature_names(transformer, problem)

    assert streets["street"].nunique() == 5000
    assert len(names) == 50 + 1
    new = pd.DataFrame({"street": ["lane 7", "never seen", "street 7"], "lambda": 1.0})
    features = compute_features(new, transformer, problem)
    pd.testing.assert_series_equal(features.loc[0], features.loc[1], check_names=False)
    assert features["feature_street_street 7"].idxmax() == 2


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (
            (Category("a"), Category("a_b")),
            ["feature_a_b_c", "feature_a_x", "feature_a_b_c_2", "feature_a_b_y"],
        ),
        (
            (Number("x"), Number("feature_x"), Number("feature_x_2")),
            ["feature_x_3", "feature_feature_x", "feature_feature_x_2"],
        ),
        ((Category("a__b"), Number("number__x")), ["feature_a__b_c", "feature_a__b_y", "feature_number__x"]),
    ],
    ids=["two categories", "prefixed names", "names with __"],
)
def test_names_of_features_are_unique_and_different_from_the_columns(
    features: tuple[Category | Number, ...], names: list[str]
) -> None:
    problem = problem_of(*features)
    cells = {"a": ["b_c", "x"], "a_b": ["c", "y"], "a__b": ["c", "y"]}
    rows = pd.DataFrame({column.name: cells.get(column.name, [1.0, 2.0]) for column in features})
    computed = compute_features(rows, fit(rows, problem), problem)

    assert list(computed) == names
    assert list(rows.join(computed)) == [*problem.inputs, *names]


def test_an_id_named_like_a_feature_stays_apart() -> None:
    problem = replace(HOUSES, row_id="feature_lambda")
    transformer = fit(make_rows(40), problem)

    assert "feature_lambda" not in feature_names(transformer, problem)
    assert len(set(feature_names(transformer, problem))) == 7


@pytest.mark.parametrize("column", [Number("lambda"), Category("index")])
def test_one_column_is_enough(column: Number | Category) -> None:
    problem = problem_of(column)
    rows = make_rows(20)

    assert len(compute_features(rows, fit(rows, problem), problem)) == 20


def test_features_of_new_rows_are_measured_against_the_training_rows() -> None:
    larger = compute_features(ROWS.assign(**{AREA: 94.0}), TRANSFORMER, HOUSES)

    assert larger[f"feature_{AREA}"].tolist() == pytest.approx([0, 0, 0, 0])
