from __future__ import annotations

import math

import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from include.data.features import build_transformer, compute_features

NAN = math.nan


@pytest.fixture
def rows() -> pd.DataFrame:
    """Four training animals; the median age is 4, the mean 5."""
    return pd.DataFrame(
        {
            "case": [1, 2, 3, 4],
            "site": [1, 1, 1, 2],
            "Pop": ["Vic", "Vic", "Vic", "other"],
            "sex": ["m", "f", "f", "f"],
            "age": [2.0, NAN, 4.0, 9.0],
            "hdlngth": [90.0, 92.0, 94.0, 100.0],
            **{
                name: [1.0, 2.0, 3.0, 2.0]
                for name in ("skullw", "totlngth", "taill", "footlgth", "earconch", "eye", "chest", "belly")
            },
        },
        index=[11, 12, 13, 14],
    )


@pytest.fixture
def transformer(rows: pd.DataFrame) -> Pipeline:
    return build_transformer().fit(rows)


def one_row(rows: pd.DataFrame, **changes: object) -> pd.DataFrame:
    return rows.head(1).assign(**changes)


def test_features_are_named_after_columns_and_categories(rows: pd.DataFrame, transformer: Pipeline) -> None:
    assert list(compute_features(rows, transformer)) == [
        "feature_site_1",
        "feature_site_2",
        "feature_Pop_Vic",
        "feature_Pop_other",
        "feature_sex_f",
        "feature_sex_m",
        "feature_age",
        "feature_hdlngth",
        "feature_skullw",
        "feature_totlngth",
        "feature_footlgth",
        "feature_earconch",
        "feature_eye",
        "feature_chest",
        "feature_belly",
    ]


def test_the_means_are_those_of_the_encoded_and_imputed_rows(transformer: Pipeline) -> None:
    means = dict(zip(transformer[-1].get_feature_names_out(), transformer[-1].mean_, strict=True))

    assert means == pytest.approx(
        {"site_1": 0.75, "site_2": 0.25, "Pop_Vic": 0.75, "Pop_other": 0.25, "sex_f": 0.75, "sex_m": 0.25}
        | {"age": (2 + 4 + 4 + 9) / 4, "hdlngth": 94}
        | dict.fromkeys(["skullw", "totlngth", "footlgth", "earconch", "eye", "chest", "belly"], 2)
    )


def test_a_feature_is_its_distance_from_the_mean_in_standard_deviations(
    rows: pd.DataFrame, transformer: Pipeline
) -> None:
    features = compute_features(rows, transformer)

    deviation = math.sqrt((2.75**2 + 0.75**2 + 0.75**2 + 4.25**2) / 4)
    assert features["feature_age"].tolist() == pytest.approx(
        [-2.75 / deviation, -0.75 / deviation, -0.75 / deviation, 4.25 / deviation]
    )
    assert features["feature_site_2"].tolist() == pytest.approx([*[-math.sqrt(1 / 3)] * 3, math.sqrt(3)])


def test_every_feature_of_the_training_rows_has_mean_0_and_variance_1(
    rows: pd.DataFrame, transformer: Pipeline
) -> None:
    features = compute_features(rows, transformer)

    assert features.mean().tolist() == pytest.approx([0] * 15)
    assert features.var(ddof=0).tolist() == pytest.approx([1] * 15)


def test_a_missing_number_becomes_the_training_median(rows: pd.DataFrame, transformer: Pipeline) -> None:
    missing = compute_features(one_row(rows, age=NAN), transformer)
    median = compute_features(one_row(rows, age=4.0), transformer)

    pd.testing.assert_frame_equal(missing, median)


@pytest.mark.parametrize(
    ("column", "value", "encoded"),
    [
        ("site", 8, {"site_1": 0, "site_2": 0}),
        ("Pop", "NSW", {"Pop_Vic": 0, "Pop_other": 0}),
        ("sex", "unknown", {"sex_f": 0, "sex_m": 0}),
    ],
)
def test_an_unknown_category_is_encoded_as_zeros(
    rows: pd.DataFrame, transformer: Pipeline, column: str, value: object, encoded: dict[str, float]
) -> None:
    encode = transformer[0]

    assert encode.transform(one_row(rows, **{column: value}))[list(encoded)].iloc[0].to_dict() == encoded


def test_features_of_new_rows_are_measured_against_the_training_rows(rows: pd.DataFrame, transformer: Pipeline) -> None:
    heavier = compute_features(rows.assign(hdlngth=94.0), transformer)

    assert heavier["feature_hdlngth"].tolist() == pytest.approx([0, 0, 0, 0])


def test_features_keep_the_rows_index(rows: pd.DataFrame, transformer: Pipeline) -> None:
    assert compute_features(rows, transformer).index.tolist() == [11, 12, 13, 14]


def test_identity_and_target_are_no_features(rows: pd.DataFrame, transformer: Pipeline) -> None:
    changed = rows.assign(case=[7, 8, 9, 10], taill=[30.0, 40.0, 50.0, 45.0])

    pd.testing.assert_frame_equal(
        compute_features(changed, build_transformer().fit(changed)), compute_features(rows, transformer)
    )
