from __future__ import annotations

import pandas as pd
import pytest

from include import config
from include.data.checks import EXPECTATIONS, MEASURES, SCHEMA, Inspection, inspect


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.read_csv(config.POSSUM_CSV).head(30)


def edited(rows: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """The rows with one other cell; rows count as in the file, the header is row 1."""
    rows = rows.astype({column: object}) if isinstance(value, str) else rows
    rows.loc[row - 2, column] = value
    return rows


def test_the_real_table_passes_every_check() -> None:
    found = inspect(pd.read_csv(config.POSSUM_CSV))
    assert found.is_clean
    assert len(found.table) == 104
    assert found.report().startswith(f"{len(found.results)} checks, {len(found.results)} passed; 104 rows")


def test_every_check_has_a_result_whether_it_passed_or_not(rows: pd.DataFrame) -> None:
    results = inspect(edited(rows, 3, "eye", 25.0)).to_frame()
    assert list(results) == ["severity", "column", "check", "failures", "faults"]
    assert set(results["severity"]) == {"cleaning", "halting", "warning"}
    for schema, severity in ((SCHEMA, "halting"), (EXPECTATIONS, "warning")):
        assert set(results.loc[results["severity"] == severity, "column"]) == set(schema.columns)
    (failed,) = results[results["failures"] > 0].itertuples()
    assert (failed.severity, failed.column, failed.failures) == ("warning", "eye", 1)
    assert failed.faults == "row 3, column eye: 25.0 is rarely outside 11 to 20 mm"


@pytest.mark.parametrize(
    ("column", "value"),
    [("hdlngth", -3.0), ("chest", 0.0), ("age", float("inf")), ("taill", -float("inf")), ("eye", 41.0)],
)
def test_an_impossible_value_is_taken_for_missing_and_counted(rows: pd.DataFrame, column: str, value: float) -> None:
    found = inspect(edited(rows, 7, column, value))
    assert pd.isna(found.table.loc[5, column])
    assert len(found.table) == 30
    (fault,) = found.faults("cleaning")
    assert fault.startswith(f"row 7, column {column}: {value:g} is impossible (between 0 and ")
    assert fault.endswith(f"{MEASURES[column].unit}), taken for missing")
    assert not found.faults("halting")


def test_a_row_that_is_there_twice_counts_once(rows: pd.DataFrame) -> None:
    found = inspect(pd.concat([rows, rows.loc[[4, 9]]], ignore_index=True))
    assert found.faults("cleaning") == [f"row {row}: the same as a row before it, left out" for row in (32, 33)]
    assert found.table["case"].tolist() == rows["case"].tolist()


def test_rows_keep_their_number_after_cleaning(rows: pd.DataFrame) -> None:
    doubled = pd.concat([rows.head(1), rows], ignore_index=True)
    assert inspect(edited(doubled, 9, "sex", "x")).faults("halting") == ["row 9, column sex: x must be one of f, m"]


@pytest.mark.parametrize(("missing", "severity"), [(1, None), (2, "warning"), (16, "halting")])
def test_the_share_of_missing_cells_warns_first_and_halts_then(
    rows: pd.DataFrame, missing: int, severity: str | None
) -> None:
    rows.loc[: missing - 1, "belly"] = None
    found = inspect(rows)
    told = [kind for kind in ("warning", "halting") if any("belly: at most" in line for line in found.faults(kind))]
    assert told == ([severity] if severity else [])


def test_an_animal_without_a_tail_length_is_no_fault_as_long_as_others_have_one(rows: pd.DataFrame) -> None:
    rows.loc[:28, config.TARGET] = None
    assert not inspect(rows).faults("halting")
    rows[config.TARGET] = None
    assert inspect(rows).faults("halting") == [
        "column taill: every value is missing, so there is nothing to learn from"
    ]


def test_an_unknown_site_is_a_warning(rows: pd.DataFrame) -> None:
    (warning,) = inspect(edited(rows, 2, "site", 9)).faults("warning")
    assert warning.startswith("row 2, column site: 9")


def test_a_table_with_halting_faults_is_not_judged_further(rows: pd.DataFrame) -> None:
    found: Inspection = inspect(edited(edited(rows, 2, "sex", "x"), 3, "eye", 25.0))
    assert found.faults("halting")
    assert not found.faults("warning")


def test_the_report_gives_every_fault_its_row(rows: pd.DataFrame) -> None:
    lines = inspect(edited(edited(rows, 2, "age", 40.0), 3, "eye", 25.0)).report().splitlines()
    assert lines[1:] == [
        "halting: nothing",
        "warning: 1",
        "  row 3, column eye: 25.0 is rarely outside 11 to 20 mm",
        "cleaning: 1",
        "  row 2, column age: 40 is impossible (between 0 and 25 years), taken for missing",
    ]
