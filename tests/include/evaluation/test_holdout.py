from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from include.config import RAW, TARGET
from include.data.table import select_training
from include.evaluation import holdout as evaluation
from include.model.training import build_model


@pytest.fixture
def holdout(possums: pd.DataFrame) -> pd.DataFrame:
    return evaluation.select_holdout(possums)


@pytest.fixture
def answer(possums: pd.DataFrame, holdout: pd.DataFrame) -> pd.DataFrame:
    """What ridge regression answers, with intervals of 2 cm to either side."""
    training = select_training(possums)
    predicted = build_model({}).fit(training[RAW], training[TARGET]).predict(evaluation.add_shuffled(holdout))
    return pd.DataFrame({"prediction": predicted, "lower": predicted - 2, "upper": predicted + 2})


def test_a_model_is_judged_by_animals_held_out_and_with_a_tail_length(possums: pd.DataFrame) -> None:
    animal = possums.index[possums["split"] == "holdout"][0]

    holdout = evaluation.select_holdout(possums.assign(taill=possums["taill"].mask(possums.index == animal)))

    assert set(holdout["split"]) == {"holdout"}
    assert len(holdout) == 22
    assert holdout["taill"].notna().all()
    assert holdout.index.tolist() == list(range(22))


def test_too_few_holdout_animals_are_counted(possums: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="2 holdout animals with a tail length, 7 are the least: add rows"):
        evaluation.select_holdout(possums[possums["split"] == "holdout"].head(2))


def test_every_column_is_shuffled_ten_times_and_no_other_moves_with_it(holdout: pd.DataFrame) -> None:
    rows = evaluation.add_shuffled(holdout)

    assert len(rows) == len(holdout) * (1 + 10 * len(RAW))
    pd.testing.assert_frame_equal(rows.head(len(holdout)), holdout[RAW])
    for number, column in enumerate(np.repeat(RAW, 10), start=1):
        block = rows.iloc[number * len(holdout) : (number + 1) * len(holdout)].reset_index(drop=True)
        pd.testing.assert_frame_equal(block.drop(columns=column), holdout[RAW].drop(columns=column))
        assert sorted(block[column].dropna()) == sorted(holdout[column].dropna())
    assert rows.dtypes.equals(holdout[RAW].dtypes)


def test_the_scores_are_scikit_learns(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    own = evaluation.read_predictions(answer, holdout)
    scores = evaluation.score(holdout[TARGET], own)
    pair = (holdout[TARGET], own["prediction"])

    assert scores["rmse"].value == pytest.approx(root_mean_squared_error(*pair))
    assert scores["mae"].value == pytest.approx(mean_absolute_error(*pair))
    assert scores["r2"].value == pytest.approx(r2_score(*pair))
    for name in ("rmse", "mae", "r2"):
        assert scores[name].low < scores[name].value < scores[name].high


def test_the_interval_of_the_error_holds_the_true_error_nearly_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(200):
        true = pd.Series(rng.normal(37, 2, 40))
        found = evaluation.score(true, pd.DataFrame({"prediction": true + rng.normal(0, 1.2, 40)}))["rmse"]
        held.append(found.low <= 1.2 <= found.high)

    assert 0.88 <= np.mean(held) <= 0.99


def test_a_model_without_intervals_has_no_coverage(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    own = evaluation.read_predictions(answer[["prediction"]], holdout)

    assert set(evaluation.score(holdout[TARGET], own)) == {"rmse", "mae", "r2"}


def test_coverage_is_the_share_of_animals_inside_their_interval(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    own = evaluation.read_predictions(answer, holdout)

    coverage = evaluation.score(holdout[TARGET], own)["coverage"]

    assert coverage.value == ((own["prediction"] - holdout[TARGET]).abs() <= 2).mean()
    assert 0 < coverage.low < coverage.value < coverage.high <= 1


def test_an_animal_without_a_number_is_named(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    answer.loc[3, "prediction"] = np.inf

    with pytest.raises(ValueError, match=rf"predicts no number for animals \[{holdout['case'][3]}\]"):
        evaluation.read_predictions(answer, holdout)


def test_subgroups_are_scored_by_themselves(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    predicted = evaluation.read_predictions(answer, holdout)["prediction"]
    table = evaluation.score_subgroups(holdout, predicted).set_index(["column", "group"])
    males = holdout["sex"] == "m"

    assert table["animals"].groupby("column").sum().to_dict() == {"site": 23, "sex": 23, "Pop": 23}
    assert table.loc[("sex", "m"), "rmse"] == pytest.approx(
        root_mean_squared_error(holdout[TARGET][males], predicted[males])
    )


def test_a_small_subgroup_has_no_interval(holdout: pd.DataFrame, answer: pd.DataFrame) -> None:
    table = evaluation.score_subgroups(holdout, evaluation.read_predictions(answer, holdout)["prediction"])

    assert (table["rmse_low"].isna() == (table["animals"] < 7)).all()
    assert table["rmse"].notna().all()


def test_importances_agree_with_scikit_learns_permutation_importance(
    possums: pd.DataFrame, holdout: pd.DataFrame, answer: pd.DataFrame
) -> None:
    training = select_training(possums)
    model = build_model({}).fit(training[RAW], training[TARGET])
    theirs = permutation_importance(
        model, holdout[RAW], holdout[TARGET], scoring="neg_root_mean_squared_error", n_repeats=100, random_state=0
    )

    ours = evaluation.importances(holdout, answer).set_index("column")["mean"]

    np.testing.assert_allclose(ours[RAW], theirs.importances_mean, atol=0.25)
    assert ours.index[0] == RAW[theirs.importances_mean.argmax()] == "totlngth"


def test_metrics_are_named_and_none_is_missing_a_value() -> None:
    scores = {"rmse": asdict(evaluation.Score(1.0, 0.5, 1.5)), "r2": asdict(evaluation.Score(0.5, np.nan, np.nan))}

    assert evaluation.flatten(scores, "x_") == {"x_rmse": 1.0, "x_rmse_low": 0.5, "x_rmse_high": 1.5, "x_r2": 0.5}
