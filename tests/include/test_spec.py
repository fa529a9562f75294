from collections.abc import Callable
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from include.spec import Category, Gate, Limits, Number, Problem, ProblemError

from ..toy import AREA, DISTRICT, HOUSES

PRICE, ROOMS = HOUSES.target, HOUSES.number("lambda")
NO_GROUPS = Gate(max_rmse=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ()}, "features must be a tuple with at least one column"),
        ({"features": list(HOUSES.features)}, "features must be a tuple"),
        ({"features": (*HOUSES.features, PRICE)}, "target 'price' is among the features"),
        ({"features": (ROOMS, ROOMS)}, "features names 'lambda' twice"),
        ({"features": (ROOMS, Category("lambda"))}, "features names 'lambda' twice"),
        ({"features": (Number(" rooms"),)}, "features has the column ' rooms'"),
        ({"features": (Number(""),)}, "features has the column ''"),
        ({"features": (Number("lower"),)}, "features has the column 'lower', a name that the pipeline uses"),
        ({"features": (Category("_split"),)}, "features has the column '_split', a name that the pipeline uses"),
        ({"features": (Category("_row"),)}, "features has the column '_row', a name that the pipeline uses"),
        ({"target": Number("prediction")}, "target has the column 'prediction', a name that the pipeline uses"),
        ({"target": Number("_row")}, "target has the column '_row', a name that the pipeline uses"),
        ({"row_id": "upper"}, "row_id has the column 'upper', a name that the pipeline uses"),
        ({"row_id": "split", "features": (ROOMS,), "gate": NO_GROUPS}, "row_id has the column 'split', a name that"),
        ({"row_id": "price"}, "row_id 'price' is the target or a feature too"),
        ({"row_id": AREA}, "row_id 'living area (m²)' is the target or a feature too"),
        ({"holdout_share": 0.0}, "holdout_share must lie between 0.05 and 0.5: 0"),
        ({"holdout_share": 0.9}, "holdout_share must lie between 0.05 and 0.5: 0.9"),
        ({"holdout_share": nan}, "holdout_share must lie between"),
        (
            {"gate": Gate(max_rmse=1, subgroup_max_rmse={"lambda": 1})},
            "gate.subgroup_max_rmse names 'lambda', which",
        ),
        ({"gate": Gate(max_rmse=1, subgroup_max_rmse={"sex": 1})}, "gate.subgroup_max_rmse names 'sex', which"),
        ({"name": "House prices"}, "name must be lower-case letters"),
        ({"name": ""}, "name must be lower-case letters"),
        ({"table": "include/houses.xlsx"}, "table must be a path or an s3:// URI that ends in .csv or .parquet"),
        ({"table": "houses"}, "table must be a path or an s3:// URI that ends in .csv or .parquet"),
        ({"artifact_bucket": "House_Prices"}, "artifact_bucket must be a name of an S3 bucket"),
        ({"artifact_bucket": "h"}, "artifact_bucket must be a name of an S3 bucket"),
        ({"artifact_bucket": "houses-"}, "artifact_bucket must be a name of an S3 bucket"),
        ({"picture": "../houses.png"}, "picture must be a file name that ends in .png"),
        ({"picture": "houses.jpg"}, "picture must be a file name that ends in .png"),
        ({"predictions_file": "houses/prices.csv"}, "predictions_file must be a file name that ends in .csv"),
        ({"experiment": ""}, "experiment must be a name"),
        ({"registered_model": "houses/prices"}, "registered_model must be a name without / and :"),
        ({"registered_model": "houses:1"}, "registered_model must be a name without / and :"),
    ],
)
def test_an_impossible_problem_is_refused_with_the_name_of_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError) as caught:
        replace(HOUSES, **changes)

    assert str(caught.value).startswith(f"include/problem.py: {message}")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Number("age", possible=(9, 1)), "age.possible is upside down: 9 is not less than 1"),
        (lambda: Number("age", possible=(1, 1)), "age.possible is upside down"),
        (lambda: Number("age", expected=(9, 1)), "age.expected is upside down"),
        (lambda: Number("age", possible=(nan, 1)), "age.possible"),
        (lambda: Number("age", possible=(0, 10), expected=(1, 11)), "age.expected reaches outside of possible"),
        (lambda: Number("age", possible=(0, 10), expected=(-1, 9)), "age.expected reaches outside of possible"),
        (lambda: Number("age", possible=(0, 10), expected=(-1, inf)), "age.expected reaches outside of possible"),
        (lambda: Category("sex", levels=("f", "f")), "sex.levels names a level twice"),
        (lambda: Category("site", levels=("1.0",)), "site.levels has ['1.0'], which no cell is"),
        (lambda: Category("site", levels=("a ", "b")), "site.levels has ['a '], which no cell is"),
        (lambda: Category("site", levels=(1, 2)), "site.levels must be a tuple of texts"),  # type: ignore[arg-type]
        (lambda: Category("site", levels="12"), "site.levels must be a tuple of texts"),  # type: ignore[arg-type]
        (lambda: Category("sex", new_levels="ignore"), 'sex.new_levels must be "error" or "warning"'),
        (lambda: Gate(max_rmse=0), "gate.max_rmse must be greater than 0"),
        (lambda: Gate(max_rmse=nan), "gate.max_rmse must be greater than 0"),
        (lambda: Gate(max_rmse=1, subgroup_max_rmse={"sex": -1}), "gate.subgroup_max_rmse['sex'] must be greater"),
        (lambda: Gate(max_rmse=1, margin=-0.1), "gate.margin must not be negative: -0.1"),
        (lambda: Gate(max_rmse=1, confidence=0.5), "gate.confidence must lie between 0.5 and 1: 0.5"),
        (lambda: Gate(max_rmse=1, confidence=1), "gate.confidence must lie between 0.5 and 1: 1"),
        (lambda: Limits(min_rows=29), "limits.min_rows must be 30 or more, not 29"),
        (lambda: Limits(max_training_rows=999), "limits.max_training_rows must be 1000 or more"),
        (lambda: Limits(max_missing=1.5), "limits.max_missing is a share: between 0 and 1"),
        (lambda: Limits(unexpected="refuse"), 'limits.unexpected must be "error" or "warning"'),
        (lambda: Limits(max_unexpected=-0.1), "limits.max_unexpected is a share: between 0 and 1"),
    ],
)
def test_an_impossible_part_is_refused_with_the_name_of_the_field(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ProblemError) as caught:
        build()

    assert str(caught.value).startswith(f"include/problem.py: {message}")


@pytest.mark.parametrize("name", ["feature_x", "split", "index", "lambda", "preis (€)", "$a", "100 %", "a.b", "_x"])
def test_a_column_may_have_any_other_name(name: str) -> None:
    assert replace(HOUSES, features=(Number(name),), gate=NO_GROUPS).inputs == [name]


def test_one_bound_of_a_range_may_be_open() -> None:
    assert Number("age", possible=(0, inf), expected=(0.5, 10)).possible == (0, inf)
    assert Number("age", possible=(0, 25)).expected == (-inf, inf)


def test_a_problem_lists_its_columns_in_their_order() -> None:
    assert HOUSES.inputs == [DISTRICT, "index", AREA, "lambda"]
    assert HOUSES.categories == [DISTRICT, "index"]
    assert HOUSES.numbers == [AREA, "lambda"]


def test_columns_are_found_by_name() -> None:
    assert HOUSES.number("price") is PRICE
    assert HOUSES.column(DISTRICT) is HOUSES.features[0]
    with pytest.raises(KeyError):
        HOUSES.number(DISTRICT)
    with pytest.raises(KeyError):
        HOUSES.column("address")


@pytest.mark.parametrize(("row_id", "column"), [("address", "address"), (None, "_row")])
def test_rows_without_an_id_are_identified_by_a_column_of_the_pipeline(row_id: str | None, column: str) -> None:
    assert replace(HOUSES, row_id=row_id).id == column


@pytest.mark.parametrize(
    ("column", "label"),
    [
        (Number("hdlngth", "head length", unit="mm"), "head length (mm)"),
        (Number("hdlngth", unit="mm"), "hdlngth (mm)"),
        (Number("rooms"), "rooms"),
        (Category("Pop", "population"), "population"),
        (Category("sex"), "sex"),
    ],
)
def test_a_label_has_title_and_unit(column: Number | Category, label: str) -> None:
    assert column.label == label


def test_a_problem_without_categories_is_possible() -> None:
    numbers: Problem = replace(HOUSES, features=(ROOMS,), gate=NO_GROUPS)
    assert numbers.categories == []
