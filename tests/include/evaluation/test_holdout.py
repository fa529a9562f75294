import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import Pipeline

from include.data.split import select_holdout, select_training
from include.evaluation import holdout as evaluation
from include.model.training import build_model
from include.spec import Gate
from tests.toy import AREA, DISTRICT, HOUSES, make_rows

Assess = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def model(houses: pd.DataFrame) -> Pipeline:
    training = select_training(houses, HOUSES)
    return build_model(HOUSES, "RidgeCV", {}).fit(training[HOUSES.inputs], training["price"])


@pytest.fixture
def holdout(houses: pd.DataFrame) -> pd.DataFrame:
    return select_holdout(houses, HOUSES).reset_index(drop=True)


@pytest.fixture
def answer(model: Pipeline, holdout: pd.DataFrame) -> pd.DataFrame:
    """The answer of ridge regression, with intervals of 25 k€ to either side."""
    predicted = model.predict(evaluation.add_shuffled(holdout, HOUSES))
    return pd.DataFrame({"prediction": predicted, "lower": predicted - 25, "upper": predicted + 25})


@pytest.fixture
def assess(holdout: pd.DataFrame, houses: pd.DataFrame) -> Assess:
    """Assesses answers for the holdout as version 1 unless something else is given."""

    def assess(answers: dict[str, pd.DataFrame], **given: Any) -> dict[str, Any]:
        rows, gate = given.pop("rows", holdout), given.pop("gate", HOUSES.gate)
        facts = {"version": "1", "mean": select_training(houses, HOUSES)["price"].mean()} | given
        return evaluation.assess(rows, answers, HOUSES, gate, **facts)

    return assess


@pytest.fixture
def own(answer: pd.DataFrame, holdout: pd.DataFrame) -> pd.DataFrame:
    return evaluation.read_predictions(answer, holdout, HOUSES)


def test_too_few_holdout_rows_are_a_verdict_with_their_number(holdout: pd.DataFrame) -> None:
    found = json.loads(json.dumps(evaluation.assess(holdout.head(2), {}, HOUSES, HOUSES.gate, version="1", mean=300.0)))

    assert found["verdict"]["passed"] is False
    assert "2 holdout rows with price" in found["verdict"]["reason"]
    assert found["verdict"]["reason"].endswith("at least 7 are needed: add rows")
    assert [check["passed"] for check in found["checks"]] == [False]
    assert (found["scores"], found["look"], found["predictions"]) == ({}, 0, "")


def test_every_column_is_shuffled_ten_times_and_only_that_column(holdout: pd.DataFrame) -> None:
    rows = evaluation.add_shuffled(holdout, HOUSES)

    assert len(rows) == len(holdout) * (1 + 10 * len(HOUSES.inputs))
    pd.testing.assert_frame_equal(rows.head(len(holdout)), holdout[HOUSES.inputs])
    for number, column in enumerate(np.repeat(HOUSES.inputs, 10), start=1):
        block = rows.iloc[number * len(holdout) : (number + 1) * len(holdout)].reset_index(drop=True)
        pd.testing.assert_frame_equal(block.drop(columns=column), holdout[HOUSES.inputs].drop(columns=column))
        assert sorted(block[column].dropna()) == sorted(holdout[column].dropna())
    assert rows.dtypes.equals(holdout[HOUSES.inputs].dtypes)


def test_a_large_holdout_is_shuffled_less_often(model: Pipeline) -> None:
    large = make_rows(9000)
    rows = evaluation.add_shuffled(large, HOUSES)
    others = HOUSES.inputs[1:]
    first = rows.iloc[9000 : 9000 + 6666]

    ranked = evaluation.importances(large, pd.DataFrame({"prediction": model.predict(rows)}), HOUSES)

    assert len(rows) == 9000 + 6666 * 3 * len(HOUSES.inputs)
    assert len(first.merge(large[others].drop_duplicates(), on=others)) == 6666
    assert ranked["column"][0] == AREA


def test_the_error_lies_inside_its_interval(holdout: pd.DataFrame, own: pd.DataFrame) -> None:
    scores = evaluation.score(holdout["price"], own)

    assert scores["rmse"]["value"] == pytest.approx(root_mean_squared_error(holdout["price"], own["prediction"]))
    for name in ("rmse", "mae", "r2"):
        assert scores[name]["low"] < scores[name]["value"] < scores[name]["high"]


def test_a_model_without_intervals_has_no_coverage(holdout: pd.DataFrame, own: pd.DataFrame) -> None:
    assert set(evaluation.score(holdout["price"], own[["prediction"]])) == {"rmse", "mae", "r2"}


def test_coverage_is_the_share_of_rows_inside_their_interval(holdout: pd.DataFrame, own: pd.DataFrame) -> None:
    coverage = evaluation.score(holdout["price"], own)["coverage"]

    assert coverage["value"] == ((own["prediction"] - holdout["price"]).abs() <= 25).mean()
    assert 0 < coverage["low"] < coverage["value"] < coverage["high"] <= 1


def test_a_row_without_a_finite_prediction_is_named(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    answer.loc[3, "prediction"] = np.inf

    with pytest.raises(ValueError, match=rf"for 1 holdout rows, such as address \['{holdout['address'][3]}'\]"):
        evaluation.read_predictions(answer, holdout, HOUSES)


def test_every_subgroup_has_scores_and_a_small_one_no_interval(holdout: pd.DataFrame, own: pd.DataFrame) -> None:
    problem = replace(HOUSES, gate=Gate(max_rmse=60, subgroup_max_rmse={DISTRICT: 80, "index": 80}))
    holdout.loc[:2, "index"] = np.nan

    table = evaluation.score_subgroups(holdout, own["prediction"], problem).set_index(["column", "group"])

    south = holdout[DISTRICT] == "south"
    expected = root_mean_squared_error(holdout["price"][south], own["prediction"][south])
    assert table.loc[(DISTRICT, "south"), "rmse"] == pytest.approx(expected)
    assert table["rows"].groupby("column").sum().to_dict() == {DISTRICT: 33, "index": 33}
    assert table.loc[("index", "missing"), "rows"] == 3
    assert (table["rmse_low"].isna() == (table["rows"] < 7)).all()
    assert table["rmse"].notna().all()


def test_without_subgroups_the_table_is_empty(holdout: pd.DataFrame, own: pd.DataFrame) -> None:
    problem = replace(HOUSES, gate=Gate(max_rmse=60))

    assert evaluation.score_subgroups(holdout, own["prediction"], problem).empty


def test_importances_agree_with_scikit_learns_permutation_importance(
    model: Pipeline, holdout: pd.DataFrame, answer: pd.DataFrame
) -> None:
    rows, target = holdout[HOUSES.inputs], holdout["price"]
    theirs = permutation_importance(
        model, rows, target, scoring="neg_root_mean_squared_error", n_repeats=100, random_state=0
    )

    ours = evaluation.importances(holdout, answer, HOUSES).set_index("column")["mean"]

    np.testing.assert_allclose(ours[HOUSES.inputs], theirs.importances_mean, rtol=0.15, atol=1)
    assert ours.index[0] == HOUSES.inputs[theirs.importances_mean.argmax()] == AREA


def test_an_assessment_judges_the_challenger_against_the_champion(assess: Assess, answer: pd.DataFrame) -> None:
    worse = answer.assign(prediction=answer["prediction"] + 40)

    found = json.loads(json.dumps(assess({"challenger": worse, "champion": answer}, champion="2")))

    assert list(found["scores"]) == ["challenger", "champion", "mean"]
    assert found["scores"]["challenger"]["rmse"]["value"] > found["scores"]["champion"]["rmse"]["value"]
    assert found["champion_rmse"] == found["scores"]["champion"]["rmse"]["value"]
    assert found["verdict"]["passed"] is False
    assert "not worse than the champion: RMSE is" in found["verdict"]["reason"]
    assert [check["name"] for check in found["checks"][-2:]] == [f"{DISTRICT} north", f"{DISTRICT} south"]
    assert [group["group"] for group in found["subgroups"]] == ["north", "south"]
    assert len(found["importances"]) == 4


def test_an_assessment_without_a_champion_has_the_limit_and_the_mean(assess: Assess, answer: pd.DataFrame) -> None:
    found = assess({"challenger": answer})

    assert found["verdict"]["passed"] is True
    assert [check["name"] for check in found["checks"]] == [
        "newer than every champion",
        "possible predictions",
        "absolute limit",
        "better than the mean",
        "not rolled back",
    ]
    assert (found["look"], found["confidence"], found["champion_rmse"]) == (1, pytest.approx(0.975), None)


def test_each_version_is_one_look_and_the_same_predictions_are_none(assess: Assess, answer: pd.DataFrame) -> None:
    other = answer.assign(prediction=answer["prediction"] + answer.index % 2)
    first = assess({"challenger": answer})
    earlier = [{**first, "version": "1", "champion": ""}]

    again = assess({"challenger": answer}, version="2", earlier=earlier)
    second = assess({"challenger": other, "champion": answer}, version="3", champion="1", earlier=earlier)

    assert (first["look"], again["look"], second["look"]) == (1, 1, 2)
    assert second["confidence"] == pytest.approx(1 - 0.05 / 6)
    assert "evaluation 2 on these rows" in second["verdict"]["reason"]


def test_a_table_in_other_units_is_found_by_the_champions_recorded_error(
    assess: Assess, answer: pd.DataFrame, holdout: pd.DataFrame
) -> None:
    """The new table's prices are in thousands; the challenger has learned that, the champion knows the old ones."""
    earlier = [{**assess({"challenger": answer}), "version": "1", "champion": ""}]
    thousands = answer / 1000

    found = assess(
        {"challenger": thousands, "champion": answer},
        rows=holdout.assign(price=holdout["price"] / 1000),
        version="2",
        champion="1",
        mean=0.3,
        earlier=earlier,
    )

    assert found["verdict"]["passed"] is False
    assert "the table has changed" in found["verdict"]["reason"]


def test_rows_of_an_unseen_category_are_counted(assess: Assess, answer: pd.DataFrame, holdout: pd.DataFrame) -> None:
    unseen = answer.assign(unseen=np.where(answer.index.isin([0, 1, len(holdout)]), DISTRICT, ""))

    assert assess({"challenger": unseen})["unseen"] == 2
    assert assess({"challenger": answer})["unseen"] == 0


def test_a_constant_target_gives_a_verdict(assess: Assess, answer: pd.DataFrame, holdout: pd.DataFrame) -> None:
    found = assess({"challenger": answer * 0 + 300}, rows=holdout.assign(price=300.0))

    assert found["verdict"]["passed"] is False
    assert "better than the mean" in found["verdict"]["reason"]
    assert "r2" not in found["scores"]["challenger"]


def test_the_gate_may_name_any_category(assess: Assess, answer: pd.DataFrame) -> None:
    gate = Gate(max_rmse=60, subgroup_max_rmse={"index": 80})
    champion = answer.assign(prediction=answer["prediction"] + 1)

    found = assess({"challenger": answer, "champion": champion}, gate=gate)

    assert {check["name"] for check in found["checks"][-3:]} == {"index a", "index b", "index c"}


def test_metrics_have_names_and_no_missing_values() -> None:
    scores = {
        "rmse": {"value": 1.0, "low": 0.5, "high": 1.5},
        "r2": {"value": 0.5, "low": np.nan, "high": np.nan},
    }

    assert evaluation.flatten(scores, "x_") == {"x_rmse": 1.0, "x_rmse_low": 0.5, "x_rmse_high": 1.5, "x_r2": 0.5}
