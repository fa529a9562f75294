from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from include.data.identity import add_identity, describe_rows, hash_inputs, hash_table, remove_trained
from include.spec import Category, Gate, Number

from ...toy import AREA, DISTRICT, HOUSES, WITHOUT_ID, make_rows
from ..conftest import select

SMALL = pd.DataFrame({"id": ["1", "2"], "age": [3.0, None]})


def test_without_an_id_equal_inputs_get_a_number_behind_the_hash() -> None:
    rows = make_rows(3)[HOUSES.inputs]
    ids = add_identity(pd.concat([rows, rows.head(1), rows.head(1)], ignore_index=True), WITHOUT_ID)["_row"]

    assert ids.is_unique
    assert ids.tolist()[3:] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    assert not ids[:3].str.contains("-").any()


def test_a_missing_input_is_part_of_a_hash() -> None:
    rows = make_rows(4).assign(index=["a", None, "a", None], **{AREA: [1.0, 1.0, None, None]})
    equal = rows.assign(**{DISTRICT: "north", "lambda": 2.0})[HOUSES.inputs]

    assert add_identity(equal, WITHOUT_ID)["_row"].str.partition("-")[0].nunique() == 4


def test_rows_are_the_same_if_id_and_inputs_are() -> None:
    known = select(make_rows())
    others = [known.assign(**{AREA: 80.1}), known.assign(address="Avenue 1"), known.assign(price=1.0)]

    assert [describe_rows(other, HOUSES).isin(describe_rows(known, HOUSES)).any() for other in others] == [0, 0, 1]


def test_rows_that_a_model_was_trained_on_are_removed_under_any_id() -> None:
    training = select(make_rows())
    renamed = training.head(3).assign(address=["Avenue 1", "Avenue 2", "Street 1~0a1b2c3d"])
    changed = training.tail(2).assign(address=["Avenue 3", "Street 120"], price=[1.0, 2.0])

    remaining = remove_trained(pd.concat([training, renamed, changed]), [training.head(9), training[9:]], HOUSES)

    assert remaining["address"].tolist() == ["Avenue 3"]


def test_content_that_several_training_rows_share_does_not_identify_one() -> None:
    training = select(make_rows())
    training = pd.concat([training.head(1).assign(address=name) for name in ("Street 1", "Street 2")])
    holdout = training.head(2).assign(address=["Avenue 1", "Street 1"])

    assert remove_trained(holdout, [training.head(1), training.tail(1)], HOUSES)["address"].tolist() == ["Avenue 1"]


def test_without_an_id_a_row_that_was_trained_on_is_one_of_equal_inputs_and_target() -> None:
    training = select(make_rows().drop(columns="address"), WITHOUT_ID)
    others = training.tail(2).assign(price=[1.0, 2.0])

    assert remove_trained(pd.concat([training, others]), [training], WITHOUT_ID)["price"].tolist() == [1.0, 2.0]


def test_numbers_that_differ_in_the_tenth_digit_are_different() -> None:
    rows = (
        make_rows(2)
        .assign(**{AREA: [1_700_000_000.0, 1_700_000_050.0]})
        .assign(address="x", index="a", **{"lambda": 1})
    )

    assert hash_inputs(rows.assign(**{DISTRICT: "north"}), HOUSES).nunique() == 2


@pytest.mark.parametrize("features", [HOUSES.features[:2], HOUSES.features[2:]], ids=["no numbers", "no categories"])
def test_a_problem_of_one_kind_of_features_has_hashes(features: tuple[Number | Category, ...]) -> None:
    problem = replace(WITHOUT_ID, features=features, gate=Gate(max_rmse=60))

    ids = add_identity(make_rows(40)[[*problem.inputs, "price"]], problem)["_row"]

    assert ids.is_unique
    assert ids.str.partition("-")[0].nunique() == len(make_rows(40)[problem.inputs].drop_duplicates())


def test_the_hash_does_not_depend_on_the_order_of_the_features() -> None:
    turned = replace(HOUSES, features=HOUSES.features[::-1])

    assert hash_inputs(make_rows(), turned).equals(hash_inputs(make_rows(), HOUSES))


@pytest.mark.parametrize(
    "convert",
    [
        lambda table: table.assign(**{AREA: table[AREA] + 1e-12}),
        lambda table: table.astype({"lambda": int, DISTRICT: object}),
        lambda table: table.assign(index=table["index"].astype(object).where(table["index"].notna(), None)),
        lambda table: table.head(0),
    ],
    ids=["rounding", "types", "None for NaN", "no rows"],
)
def test_a_row_is_known_in_any_form(convert: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    known = select(make_rows().assign(index=make_rows()["index"].where(lambda energy: energy != "a")))

    assert describe_rows(convert(known), HOUSES).isin(describe_rows(known, HOUSES)).all()


@pytest.mark.parametrize(
    "other",
    [
        pd.DataFrame({"id": ["1", "3"], "age": [3.0, None]}),
        pd.DataFrame({"id": ["1", "2"], "age": [3.0, 0.0]}),
        pd.DataFrame({"id": ["1", "2"], "age": [3.0 + 1e-15, None]}),
        pd.DataFrame({"id": [1, 2], "age": [3.0, None]}),
        pd.DataFrame({"id": ["1", "2"], "Age": [3.0, None]}),
        pd.DataFrame({"id": ["2", "1"], "age": [None, 3.0]}),
        pd.DataFrame({"age": [3.0, None], "id": ["1", "2"]}),
        pd.DataFrame({"id": ["1"], "age": [3.0]}),
    ],
    ids=["cell", "missing cell", "last digit", "type", "column name", "row order", "column order", "fewer rows"],
)
def test_another_table_has_another_hash(other: pd.DataFrame) -> None:
    assert hash_table(other) != hash_table(SMALL) == hash_table(SMALL.copy())
