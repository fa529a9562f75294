"""The possum table and what the pipeline makes of it."""

import pandas as pd
import pytest

from include.data.checks import Inspection, inspect
from include.data.features import build_transformer, compute_features, feature_names
from include.data.reading import parse_rows
from include.data.split import select_holdout, select_rows, select_training
from include.problem import PROBLEM
from include.settings import INCLUDE
from include.spec import SPLIT

CONTENT = (INCLUDE.parent / PROBLEM.table).read_bytes()


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return parse_rows(CONTENT, PROBLEM.table)


@pytest.fixture(scope="module")
def inspection(rows: pd.DataFrame) -> Inspection:
    return inspect(rows, PROBLEM)


@pytest.fixture(scope="module")
def table(inspection: Inspection) -> pd.DataFrame:
    return select_rows(inspection, PROBLEM.table, PROBLEM)


def test_the_table_passes_every_check_and_has_three_missing_cells(inspection: Inspection, table: pd.DataFrame) -> None:
    assert inspection.is_clean
    assert table.shape == (104, 15)
    assert table.isna().sum().loc[lambda counts: counts > 0].to_dict() == {"age": 2, "footlgth": 1}


def test_23_of_104_possums_are_held_out(table: pd.DataFrame) -> None:
    held_out = table.loc[table[SPLIT] == "holdout", "case"].astype(int).tolist()

    assert (len(select_training(table, PROBLEM)), len(select_holdout(table, PROBLEM))) == (81, 23)
    assert held_out[:4] == [8, 9, 13, 29]


def test_sites_and_cases_are_text(table: pd.DataFrame) -> None:
    assert sorted(table["site"].unique()) == list("1234567")
    assert table["case"].tolist() == [str(number) for number in range(1, 105)]


def test_the_features_are_eleven_categories_and_nine_measurements(table: pd.DataFrame) -> None:
    training = select_training(table, PROBLEM)
    transformer = build_transformer(PROBLEM).fit(training[PROBLEM.inputs])
    means = dict(zip(feature_names(transformer, PROBLEM), transformer[-1].mean_, strict=True))

    assert list(means) == [
        *(f"feature_site_{site}" for site in range(1, 8)),
        "feature_Pop_Vic",
        "feature_Pop_other",
        "feature_sex_f",
        "feature_sex_m",
        *(f"feature_{name}" for name in PROBLEM.numbers),
    ]
    assert means["feature_hdlngth"] == pytest.approx(training["hdlngth"].mean())
    assert means["feature_age"] == pytest.approx(training["age"].fillna(training["age"].median()).mean())
    assert means["feature_sex_f"] + means["feature_sex_m"] == pytest.approx(1)
    features = compute_features(training, transformer, PROBLEM)
    assert features.mean().abs().max() < 1e-9


def test_tails_in_millimetres_are_an_error(rows: pd.DataFrame) -> None:
    (error,) = inspect(rows.assign(taill=rows["taill"].astype(float) * 10), PROBLEM).failures("error")

    assert error.startswith("column taill: 100% of its values are outside of the expected 28 to 48 cm.")


def test_a_site_that_is_new_is_a_warning(rows: pd.DataFrame) -> None:
    new = rows.assign(site=["9", *rows["site"][1:]])

    (warning,) = inspect(new, PROBLEM).failures("warning")
    assert warning == "row 2, column site: 9 is not one of 1, 2, 3, 4, 5, 6, 7"


def test_an_age_of_forty_years_is_impossible_and_an_eye_of_25_mm_unusual(rows: pd.DataFrame) -> None:
    changed = inspect(rows.assign(age=["40", *rows["age"][1:]], eye=["25.0", *rows["eye"][1:]]), PROBLEM)

    assert changed.failures("repair") == ["row 2, column age: 40 is impossible (0.1 to 25 years), taken as missing"]
    assert changed.failures("warning") == ["row 2, column eye: 25.0 is outside of the expected 11 to 20 mm"]
