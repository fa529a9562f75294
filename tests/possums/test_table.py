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
