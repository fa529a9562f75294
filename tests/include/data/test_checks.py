import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.data.checks import Inspection, check_inputs, describe_unexpected, inspect
from include.data.reading import TableError, parse_rows
from include.spec import Category, Limits, Number, Problem

from ...toy import AREA, DISTRICT, HOUSES, make_rows

Change = Callable[[pd.DataFrame], pd.DataFrame]
ROWS = make_rows(60)


def edited(rows: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """Return rows with another cell; rows count as in a file, whose header is row 1."""
    changed = rows.astype({column: object})
    changed.loc[row - 2, column] = value
    return changed


def with_energy(**description: Any) -> Problem:
    """Return the problem with another description of the column ``index``."""
    district, _, *numbers = HOUSES.features
    return replace(HOUSES, features=(district, Category("index", **description), *numbers))


def severities(inspection: Inspection) -> list[str]:
    return [severity for severity in ("error", "warning", "repair") if inspection.failures(severity)]


def test_a_good_table_passes_every_check() -> None:
    inspection = inspect(ROWS, HOUSES)
    count = len(inspection.results)

    assert inspection.is_clean
    assert inspection.report().splitlines() == [
        f"{count} checks, {count} passed; 60 rows after repairs",
        "errors: none",
        "warnings: none",
        "repairs: none",
    ]


def test_every_check_has_a_result_if_it_passed_or_not() -> None:
    results = inspect(edited(ROWS, 3, AREA, 310.0), HOUSES).to_frame()

    assert list(results) == ["severity", "column", "check", "failures", "details"]
    assert set(results["severity"]) == {"repair", "error", "warning"}
    assert set(results.loc[results["severity"] == "error", "column"]) == {*HOUSES.inputs, "address", "price"}
    (failed,) = results[results["failures"] > 0].to_dict("records")
    assert (failed["severity"], failed["column"], failed["failures"]) == ("warning", AREA, 1)
    assert failed["details"] == f"row 3, column {AREA}: 310.0 is outside of the expected 20 to 300 m²"


def test_the_report_names_every_failure_with_its_row() -> None:
    lines = inspect(edited(edited(ROWS, 2, "lambda", 99), 3, AREA, 310.0), HOUSES).report().splitlines()

    assert lines[1:] == [
        "errors: none",
        "warnings: 1",
        f"  row 3, column {AREA}: 310.0 is outside of the expected 20 to 300 m²",
        "repairs: 1",
        "  row 2, column lambda: 99 is impossible (1 to 50), taken as missing",
    ]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (AREA, "large", "large is not a number"),
        (AREA, "1,5", "1,5 is not a number"),
        (AREA, "12 m²", "12 m² is not a number"),
        (AREA, [1, 2], "[1, 2] is not a number"),
        ("lambda", pd.Timestamp("2026-11-21"), "2026-11-21 00:00:00 is not a number"),
        ("price", "free", "free is not a number"),
        (DISTRICT, "west", "west is not one of north, south"),
        (DISTRICT, "North", "North is not one of north, south"),
        (DISTRICT, None, "is missing"),
        (DISTRICT, "NA", "is missing"),
        (DISTRICT, {"name": "north"}, "{'name': 'north'} is not one of north, south"),
        ("address", None, "is missing"),
    ],
)
def test_a_bad_cell_is_an_error_with_row_and_column(column: str, value: object, message: str) -> None:
    changed = ROWS.astype({column: object})
    changed.at[1, column] = value  # a list or dictionary as one cell

    assert inspect(changed, HOUSES).failures("error") == [f"row 3, column {column}: {message}"]


def test_every_row_of_a_repeated_id_is_named() -> None:
    assert inspect(edited(ROWS, 4, "address", "Street 1"), HOUSES).failures("error") == [
        "row 2, column address: Street 1 occurs more than once",
        "row 4, column address: Street 1 occurs more than once",
    ]


def test_missing_columns_are_named_beside_those_that_are_not_described() -> None:
    errors = inspect(ROWS.rename(columns={AREA: "area", "price": "cost"}), HOUSES).failures("error")
    more = inspect(ROWS.assign(zip="1010", nested=[[1]] * len(ROWS)), HOUSES)

    assert errors == [f"column {name} is missing; other columns of the table: area, cost" for name in (AREA, "price")]
    assert more.failures("warning") == [
        f"column {name} is not described in include/problem.py: ignored" for name in ("zip", "nested")
    ]
    assert not {"zip", "nested"} & set(more.table)


def test_blanks_around_cells_are_removed_and_counted() -> None:
    changed = edited(edited(edited(ROWS, 2, DISTRICT, " north "), 3, AREA, " 60.5"), 4, "address", "Street 3\t")
    inspection = inspect(edited(changed, 5, "index", "  "), HOUSES)

    assert severities(inspection) == ["repair"]
    assert inspection.failures("repair") == ["4 cells had blanks around them: removed"]
    assert inspection.table.loc[0, DISTRICT] == "north"
    assert inspection.table.loc[1, AREA] == 60.5
    assert inspection.table.loc[2, "address"] == "Street 3"
    assert pd.isna(inspection.table.loc[3, "index"])


@pytest.mark.parametrize("value", [-3.0, 0.5, float("inf"), -float("inf"), "-1", "Infinity", "9_999_999", 2000.1])
def test_an_impossible_number_is_taken_as_missing_and_named(value: object) -> None:
    inspection = inspect(edited(ROWS, 7, AREA, value), HOUSES)

    (repair,) = inspection.failures("repair")
    assert repair == f"row 7, column {AREA}: {float(str(value)):g} is impossible (1 to 2000 m²), taken as missing"
    assert np.isnan(inspection.table.loc[5, AREA])
    assert len(inspection.table) == 60
    assert not inspection.failures("error")


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "nan", "NULL", "None", "<NA>", None, np.nan, pd.NA])
def test_a_missing_cell_is_missing_in_every_notation(cell: object) -> None:
    inspection = inspect(edited(edited(ROWS, 2, "index", cell), 3, AREA, cell), HOUSES)

    assert inspection.is_clean
    assert inspection.table["index"].isna().tolist() == [True, *[False] * 59]
    assert inspection.table[AREA].isna().tolist() == [False, True, *[False] * 58]


def test_a_level_of_a_category_is_not_missing_though_its_name_says_so() -> None:
    inspection = inspect(ROWS.assign(index=["NA", "EU"] * 30), with_energy(levels=("NA", "EU")))

    assert inspection.is_clean
    assert inspection.table["index"].tolist() == ["NA", "EU"] * 30


def test_whole_numbers_are_one_category_in_every_notation() -> None:
    cells = ["1", "1.0", 1, 1.0, "1.00", " 1", "-2.0", -2, "1.5", 1.5]
    inspection = inspect(ROWS.assign(index=pd.Series(cells * 6, dtype=object)), with_energy(levels=("1", "-2", "1.5")))

    assert not inspection.failures("error")
    assert inspection.table["index"].tolist()[:10] == [*["1"] * 6, "-2", "-2", "1.5", "1.5"]


def test_ids_are_the_same_text_from_numbers_and_from_text() -> None:
    numbers = [inspect(ROWS.assign(address=range(60)).astype({"address": kind}), HOUSES) for kind in (int, float, str)]

    assert all(one.is_clean for one in numbers)
    assert {tuple(one.table["address"]) for one in numbers} == {tuple(map(str, range(60)))}


@pytest.mark.parametrize(
    "convert", [pd.DataFrame.convert_dtypes, lambda rows: rows.convert_dtypes(dtype_backend="pyarrow")]
)
def test_nullable_types_are_read_as_any_other(convert: Change) -> None:
    missing = edited(edited(edited(ROWS, 2, "index", None), 3, AREA, None), 4, "price", None)
    converted = convert(missing.infer_objects())

    inspection = inspect(converted, HOUSES)

    assert inspection.is_clean
    pd.testing.assert_frame_equal(inspection.table, inspect(missing, HOUSES).table)


def test_categories_may_be_of_the_type_category_or_boolean() -> None:
    problem = with_energy(levels=("True", "False"), nullable=True)
    flags = pd.array([True, False, None] * 20, dtype="boolean")

    inspection = inspect(ROWS.assign(index=flags).astype({DISTRICT: "category"}), problem)

    assert inspection.is_clean
    assert inspection.table["index"].dropna().tolist() == ["True", "False"] * 20
    assert inspection.table["index"].isna().sum() == 20


@pytest.mark.parametrize(
    ("levels", "new_levels", "found"),
    [(("a", "b"), "error", "error"), (("a", "b"), "warning", "warning"), ((), "error", None)],
)
def test_a_new_category_is_what_the_problem_says(levels: tuple[str, ...], new_levels: str, found: str | None) -> None:
    problem = with_energy(levels=levels, new_levels=new_levels)
    inspection = inspect(ROWS.assign(index=["a", "b", "z"] * 20), problem)

    assert severities(inspection) == ([found] if found else [])
    if found:
        assert inspection.failures(found)[0] == "row 4, column index: z is not one of a, b"


def test_a_repeated_row_is_left_out() -> None:
    twice = pd.concat([ROWS.assign(line=1), ROWS.loc[[4, 9]].assign(line=2)], ignore_index=True)
    inspection = inspect(twice, HOUSES)

    assert inspection.failures("repair") == [f"row {row}: the same as a row before it, left out" for row in (62, 63)]
    assert inspection.table["address"].tolist() == ROWS["address"].tolist()
    assert not inspection.failures("error")


def test_rows_keep_their_number_after_repairs() -> None:
    doubled = pd.concat([ROWS.head(1), ROWS], ignore_index=True)

    assert inspect(edited(doubled, 9, DISTRICT, "west"), HOUSES).failures("error") == [
        f"row 9, column {DISTRICT}: west is not one of north, south"
    ]


@pytest.mark.parametrize(("missing", "severity"), [(3, None), (4, "warning"), (30, "warning"), (31, "error")])
def test_the_share_of_missing_cells_is_first_a_warning_and_then_an_error(missing: int, severity: str | None) -> None:
    inspection = inspect(ROWS.assign(**{AREA: ROWS[AREA].where(ROWS.index >= missing)}), HOUSES)

    assert severities(inspection) == ([severity] if severity else [])
    if severity:
        share = "5%" if severity == "warning" else "50%"
        assert inspection.failures(severity) == [f"column {AREA}: more than {share} of it is missing"]


def in_another_unit(name: str, factor: float) -> Change:
    return lambda rows: rows.assign(**{name: rows[name] * factor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.head(29), "29 rows have a target, 30 is the minimum: add rows"),
        (lambda rows: rows.assign(price=99.0), "column price: every value is 99, there is nothing to learn"),
        (
            lambda rows: rows.assign(**{"lambda": [None, *[3] * 59]}),
            "column lambda: every value is 3, leave it out of `features` if it is",
        ),
        (
            lambda rows: rows.assign(price=rows["price"].where(rows.index % 10 == 0)),
            "column price: 90% of its cells are missing, at most 50% may be",
        ),
        (
            in_another_unit(AREA, 10),
            f"column {AREA}: 100% of its values are outside of the expected 20 to 300 m². Is it in another unit? "
            "If it is right, widen `expected` in include/problem.py",
        ),
        (in_another_unit("price", 1000), "column price: 100% of its values are outside of the expected 50 to 900 k€."),
        (in_another_unit(AREA, 1e4), f"column {AREA}: 100% of its values are outside of the expected 20 to 300 m²."),
    ],
    ids=[
        "few rows",
        "constant target",
        "constant feature",
        "rare target",
        "unusual unit",
        "impossible target",
        "impossible feature",
    ],
)
def test_a_table_that_nothing_can_be_learned_from_is_an_error_with_the_remedy(change: Change, message: str) -> None:
    changed = change(make_rows(400 if "90%" in message else 60))
    errors = inspect(changed, HOUSES).failures("error")

    assert any(error.startswith(message) for error in errors)
    assert "0 rows have a target, 30 is the minimum: add rows" not in errors, "the unit is wrong, not the number"


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda rows: rows.head(1), False),
        (lambda rows: rows.assign(price=99.0), False),
        (lambda rows: rows.assign(price=None), False),
        (lambda rows: rows.assign(**{AREA: None}), False),
        (in_another_unit(AREA, 10), True),
        (in_another_unit("price", 1000), True),
        (lambda rows: in_another_unit(AREA, 10)(rows).head(9), False),
    ],
    ids=["one row", "constant target", "no target", "no area", "unit", "impossible unit", "too few to judge"],
)
def test_a_labelled_file_is_an_error_only_if_a_unit_is_wrong(change: Change, refused: bool) -> None:
    errors = inspect(change(ROWS), HOUSES, labelled=True).failures("error")

    assert [("Is it in another unit?" in error) for error in errors] == ([True] if refused else [])


def test_limits_are_those_of_the_problem() -> None:
    strict = replace(HOUSES, limits=Limits(min_rows=61, max_missing=0.01, max_missing_target=0.01, max_unexpected=0.0))

    assert inspect(edited(ROWS, 2, AREA, None), strict).failures("error") == [
        f"column {AREA}: more than 1% of it is missing"
    ]
    assert len(inspect(edited(ROWS, 2, "price", None), strict).failures("error")) == 2
    assert "2% of its values are outside" in inspect(edited(ROWS, 2, AREA, 310), strict).failures("error")[0]


def test_a_table_with_errors_is_not_judged_further() -> None:
    inspection = inspect(edited(edited(ROWS, 2, DISTRICT, "west"), 3, AREA, 310), HOUSES)

    assert severities(inspection) == ["error"]


@pytest.mark.parametrize("change", [{AREA: "large"}, {DISTRICT: "west"}, {AREA: -1.0}, {"address": "here"}])
def test_of_many_failures_a_hundred_are_named_and_all_are_counted(change: dict[str, Any]) -> None:
    rows = make_rows(100_000).assign(**change)
    started = time.monotonic()

    inspection = inspect(rows, HOUSES)

    assert time.monotonic() - started < 15  # 1 s on a free core
    (result,) = [found for found in inspection.results if found.count > 90_000]
    assert result.count == 100_000 - 84 * ("address" in change)  # 84 rows are the same as another
    assert len(result.failures) == 100
    lines = inspection.failures(result.severity)
    assert f"column {result.column}: {result.count - 100} more: {result.check}" in lines
    assert len(inspection.report().splitlines()) < 300


ODD = ("index", "split", "lambda", "living area (m²)", "100 %", "$x", "@x", "a.b", "x y", "_x", "level_0", "0", "größe")


def odd_problem(column: Callable[[str], Number | Category]) -> Problem:
    return replace(
        HOUSES, features=tuple(map(column, ODD)), row_id="values", gate=replace(HOUSES.gate, subgroup_max_rmse={})
    )


def test_columns_may_have_odd_names() -> None:
    numbers = {name: np.linspace(1, 2, 40) for name in ODD}
    rows = pd.DataFrame({"values": range(40), **numbers, "price": np.linspace(100, 200, 40)})

    numeric = inspect(rows, odd_problem(Number))
    categorical = inspect(rows, odd_problem(lambda name: Category(name, levels=("1",))))

    assert numeric.is_clean
    assert list(numeric.table) == ["values", *ODD, "price"]
    assert len([line for line in categorical.failures("error") if line.startswith("row 41, ")]) == len(ODD)


NEW = make_rows(3).drop(columns="price")


def test_rows_to_predict_get_types_and_lose_other_columns() -> None:
    text = NEW.assign(remark="sunny", **{AREA: [None, 60, 70]}).to_csv(index=False)

    checked = check_inputs(parse_rows(text.encode(), "new.csv"), HOUSES, "new.csv")

    assert list(checked) == ["address", *HOUSES.inputs]
    assert checked["address"].tolist() == ["Street 1", "Street 2", "Street 3"]
    assert checked[AREA].isna().tolist() == [True, False, False]
    assert checked.dtypes.astype(str).tolist() == ["str", "str", "str", "float64", "float64"]


def test_every_error_in_rows_to_predict_is_named_at_once() -> None:
    bad = NEW.assign(**{AREA: [-1, "large", 60], "lambda": [1, 2, 99], DISTRICT: ["west", None, "north"]})

    with pytest.raises(TableError) as caught:
        check_inputs(bad, HOUSES, "new.csv")

    header, *lines = str(caught.value).splitlines()
    assert header == "new.csv cannot be used:"
    assert sorted(lines) == [
        f"row 2, column {AREA}: -1 is impossible (1 to 2000 m²)",
        f"row 2, column {DISTRICT}: west is not one of north, south",
        f"row 3, column {AREA}: large is not a number",
        f"row 3, column {DISTRICT}: is missing",
        "row 4, column lambda: 99 is impossible (1 to 50)",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.head(0), "new.csv has no rows: give it at least one"),
        (lambda rows: rows.assign(address="x"), "row 3, column address: x occurs more than once"),
        (lambda rows: rows.drop(columns="address"), "column address is missing; other columns of the table: none"),
        (
            lambda rows: rows.rename(columns={AREA: "area"}),
            f"column {AREA} is missing; other columns of the table: area",
        ),
        (lambda rows: rows.assign(**{AREA: [[1], [2], [3]]}), f"row 2, column {AREA}: [1] is not a number"),
        (lambda rows: rows.assign(**{AREA: float("inf")}), f"row 2, column {AREA}: inf is impossible (1 to 2000 m²)"),
    ],
)
def test_rows_that_cannot_be_predicted_are_refused_with_the_reason(change: Change, message: str) -> None:
    with pytest.raises(TableError) as caught:
        check_inputs(change(NEW), HOUSES, "new.csv")

    assert message in str(caught.value)


def test_a_single_row_may_lack_every_number() -> None:
    checked = check_inputs(NEW.head(1).assign(**dict.fromkeys(HOUSES.numbers)), HOUSES, "new.csv")

    assert checked[HOUSES.numbers].isna().all(axis=None)


def test_rows_of_a_request_have_no_id_and_count_from_one() -> None:
    rows = NEW[HOUSES.inputs]

    assert list(check_inputs(rows, HOUSES, "the request", with_id=False)) == HOUSES.inputs
    with pytest.raises(TableError, match=f"the request cannot be used:\nrow 1, column {DISTRICT}: west is"):
        check_inputs(rows.assign(**{DISTRICT: "west"}), HOUSES, "the request", with_id=False, first=1)


def test_a_number_outside_of_its_expected_range_is_predicted_or_refused() -> None:
    rows = NEW.assign(**{AREA: [1.5, 60, None]})
    checked = check_inputs(rows, HOUSES, "new.csv")

    assert describe_unexpected(checked, HOUSES).tolist() == [
        f"{AREA} 1.5 is outside of the expected 20 to 300 m²",
        "",
        "",
    ]
    with pytest.raises(TableError, match=rf"row 2, column {re.escape(AREA)}: 1.5 is outside of the expected 20 to 300"):
        check_inputs(rows, HOUSES, "new.csv", unexpected="error")
    assert len(check_inputs(NEW, HOUSES, "new.csv", unexpected="error")) == 3


def test_without_an_expected_range_no_number_is_unexpected() -> None:
    problem = replace(HOUSES, features=(*HOUSES.features[:2], Number(AREA), Number("lambda")))

    assert not describe_unexpected(check_inputs(NEW.assign(**{AREA: 1e300}), problem, "new.csv"), problem).any()
