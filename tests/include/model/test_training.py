import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor

from include.data.split import select_holdout, select_training
from include.model import training as model_training
from include.model.candidates import CANDIDATES, NAMES
from include.model.interval_regressor import IntervalRegressor
from include.model.training import (
    build_model,
    describe_model,
    fit_with_intervals,
    sample_errors,
    score_intervals,
    train_model,
)
from include.spec import SPLIT
from tests.toy import AREA, DISTRICT, HOUSES

from ..conftest import add_features

Change = Callable[[pd.DataFrame], pd.DataFrame]
RIDGE = ("RidgeCV", {"alphas": [0.5]})


def coefficients(model: IntervalRegressor) -> list[float]:
    return model.model[-1].regressor_.coef_.tolist()


def test_hyper_parameters_reach_every_fitted_model(table: pd.DataFrame) -> None:
    model, _ = train_model(table, HOUSES, "RidgeCV", {"alphas": [0.5], "fit_intercept": False})

    for fitted in (model.model, *model.fold_models):
        assert (fitted[-1].regressor_.alpha_, fitted[-1].regressor_.intercept_) == (0.5, 0)


@pytest.mark.parametrize(("many", "folds"), [(87, 10), (86, 5)])
def test_many_rows_need_fewer_folds(
    training: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, many: int, folds: int
) -> None:
    monkeypatch.setattr(model_training, "MANY_ROWS", many)

    fitted = fit_with_intervals(build_model(HOUSES, *RIDGE), training[HOUSES.inputs], training["price"])

    assert len(fitted.fold_models) == len(fitted.residuals) == folds
    assert sum(map(len, fitted.residuals)) == 87


def test_the_model_predicts_from_raw_rows(table: pd.DataFrame) -> None:
    model, scores = train_model(table, HOUSES, *RIDGE)
    holdout = select_holdout(table, HOUSES)

    errors = holdout["price"] - model.predict(None, holdout[HOUSES.inputs])["prediction"]

    assert np.sqrt((errors**2).mean()) == pytest.approx(scores["holdout_rmse"])


@pytest.mark.parametrize("column", ["price", AREA])
def test_holdout_rows_change_the_scores_and_not_the_model(houses: pd.DataFrame, column: str) -> None:
    changed = houses.copy()
    changed.loc[houses[SPLIT] == "holdout", column] += 90

    model, scores = train_model(add_features(houses), HOUSES, *RIDGE)
    other, other_scores = train_model(add_features(changed), HOUSES, *RIDGE)

    assert coefficients(other) == coefficients(model)
    assert scores["holdout_rmse"] != other_scores["holdout_rmse"]
    np.testing.assert_array_equal(sample_errors(other), sample_errors(model))


def test_rows_without_a_target_are_left_out(houses: pd.DataFrame) -> None:
    known = houses.drop(houses.groupby(SPLIT).head(5).index)

    model, scores = train_model(add_features(known), HOUSES, *RIDGE)
    other, other_scores = train_model(
        add_features(houses.assign(price=known["price"].reindex(houses.index))), HOUSES, *RIDGE
    )

    assert coefficients(other) == coefficients(model)
    assert other_scores == scores


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(feature_lambda=table["feature_lambda"] + 0.001),
        lambda table: table.rename(columns={"feature_lambda": "feature_rooms"}),
        lambda table: table.drop(columns="feature_lambda"),
        lambda table: table.assign(feature_new=1.0),
        lambda table: table[["address", *HOUSES.inputs, "price", SPLIT]],
    ],
    ids=["value", "name", "one less", "one more", "none"],
)
def test_features_other_than_the_models_are_rejected(table: pd.DataFrame, change: Change) -> None:
    with pytest.raises(ValueError, match="run feature_eng again"):
        train_model(change(table), HOUSES, *RIDGE)


def test_training_is_reproducible_and_does_not_change_the_table(table: pd.DataFrame) -> None:
    before = table.copy()

    assert train_model(table, HOUSES, *RIDGE)[1] == train_model(table, HOUSES, *RIDGE)[1]
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_on_unseen_rows_the_model_beats_predicting_the_mean(table: pd.DataFrame, candidate: object) -> None:
    setting = {name: values[0] for name, values in candidate.grid.items()}  # type: ignore[attr-defined]

    _, scores = train_model(table, HOUSES, candidate.name, setting)  # type: ignore[attr-defined]

    deviations = select_holdout(table, HOUSES)["price"] - select_training(table, HOUSES)["price"].mean()
    assert scores["holdout_rmse"] < 0.5 * np.sqrt((deviations**2).mean())
    assert scores["holdout_coverage"] > 0.7
    assert set(scores) == {f"holdout_{name}" for name in ("rmse", "mae", "r2", "coverage", "interval_width")}


def test_ten_rows_are_enough(houses: pd.DataFrame) -> None:
    few = pd.concat([select_training(houses, HOUSES).head(10), select_holdout(houses, HOUSES).head(2)])

    assert np.isfinite(train_model(add_features(few), HOUSES, *RIDGE)[1]["holdout_interval_width"])


@pytest.mark.parametrize(
    ("cells", "unseen"),
    [
        ({}, ""),
        ({DISTRICT: "east"}, DISTRICT),
        ({"index": "d"}, "index"),
        ({"index": None}, "index"),
        ({DISTRICT: "east", "index": "d", AREA: 1999.0}, f"{DISTRICT}, index"),
    ],
    ids=["known", "first", "second", "missing", "both"],
)
def test_levels_that_no_training_row_had_are_named(table: pd.DataFrame, cells: dict[str, object], unseen: str) -> None:
    model, _ = train_model(table, HOUSES, *RIDGE)
    rows = table[HOUSES.inputs].head(3)
    asked = pd.concat([rows, rows.head(1).assign(**cells)]).set_axis(["x", "y", "x", "y"])

    assert model.predict(None, asked)["unseen"].tolist() == ["", "", "", unseen]


def test_missing_cells_are_a_known_level_if_a_training_row_has_one(houses: pd.DataFrame) -> None:
    rare = houses["index"].mask(houses.index == select_training(houses, HOUSES).index[0])
    table = add_features(houses.assign(index=rare))
    model, _ = train_model(table, HOUSES, *RIDGE)

    assert set(model.predict(None, table[HOUSES.inputs].assign(index=np.nan))["unseen"]) == {""}


def test_a_level_of_holdout_rows_only_is_unseen(houses: pd.DataFrame) -> None:
    east = houses[DISTRICT].mask(houses[SPLIT] == "holdout", "east")
    table = add_features(houses.assign(**{DISTRICT: east}))
    model, _ = train_model(table, HOUSES, *RIDGE)

    named = model.predict(None, table[HOUSES.inputs])["unseen"]
    assert (named == DISTRICT).tolist() == (table[SPLIT] == "holdout").tolist()


def test_the_description_is_enough_to_fit_the_model_again(table: pd.DataFrame) -> None:
    selected = {"estimator": "ElasticNet", "hyper_parameters": {"alpha": 0.1, "l1_ratio": 0.5}}
    model, _ = train_model(table, HOUSES, selected["estimator"], selected["hyper_parameters"])

    described = describe_model(model.model, selected)
    again, _ = train_model(table, HOUSES, described["estimator"], json.loads(described["hyper_parameters"]))

    assert (described["alpha"], described["max_iter"]) == (0.1, 1000)
    assert coefficients(again) == coefficients(model)


def test_ridge_is_described_with_the_alpha_that_it_chose(table: pd.DataFrame) -> None:
    model, _ = train_model(table, HOUSES, "RidgeCV", {"fit_intercept": True})

    described = describe_model(model.model, {"estimator": "RidgeCV", "hyper_parameters": {"fit_intercept": True}})

    alpha = model.model[-1].regressor_.alpha_
    assert json.loads(described["hyper_parameters"]) == {"alphas": [alpha], "fit_intercept": True}
    assert len(described["alphas"]) == 30


def draw(seed: int, count: int, noise: str = "normal") -> tuple[pd.DataFrame, pd.Series]:
    """Rows of three numbers, and a target that depends on them and on noise."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(random.normal(size=(count, 3)), columns=["a", "b", "c"])
    errors = {"normal": random.normal, "skewed": random.exponential}[noise](size=count)
    return rows, rows["a"] - 2 * rows["b"] + errors


def coverage(model: object, noise: str, draws: int = 40) -> float:
    """The share of new rows whose target lies in its interval, over many training sets of 80."""
    inside = []
    for seed in range(draws):
        rows, target = draw(seed, 80 + 20, noise)
        fitted = fit_with_intervals(model, rows[:80], target[:80])
        inside.append(score_intervals(target[80:], fitted.predict(None, rows[80:]))["coverage"])
    return float(np.mean(inside))


@pytest.mark.parametrize("noise", ["normal", "skewed"])
@pytest.mark.parametrize("model", [Ridge(alpha=1.0), KNeighborsRegressor(5)], ids=["ridge", "neighbours"])
def test_nine_in_ten_new_values_lie_in_their_interval(model: object, noise: str) -> None:
    """80 % less sqrt(2 / n) is certain (Barber et al. 2021, theorem 4); stable models come close to 90 %."""
    assert 0.87 <= coverage(model, noise) <= 0.94


def test_a_model_that_memorizes_its_training_rows_keeps_the_coverage() -> None:
    """Its errors on training rows are zero; intervals made of those would have no width."""
    assert coverage(KNeighborsRegressor(1), "normal") >= 0.87


def test_a_part_of_the_residuals_is_enough_for_the_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_training, "MAX_RESIDUALS", 40)

    assert [len(errors) for errors in fit_with_intervals(Ridge(), *draw(0, 80)).residuals] == [4] * 10
    assert 0.87 <= coverage(Ridge(), "normal") <= 0.94


def test_of_the_errors_a_sample_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fit_with_intervals(Ridge(), *draw(0, 80))
    errors = sample_errors(model)["error"]
    monkeypatch.setattr(model_training, "MAX_ERRORS", 30)

    some = sample_errors(model)["error"]

    assert sorted(errors) == sorted(np.concatenate(model.residuals))
    assert len(some) == 30
    assert set(some) < set(errors)
    assert some.tolist() == sample_errors(model)["error"].tolist()


def test_every_row_is_left_out_once_and_its_residual_is_that_of_the_model_without_it() -> None:
    rows, target = draw(0, 43)

    fitted = fit_with_intervals(LinearRegression(), rows, target)

    splits = KFold(10, shuffle=True, random_state=0).split(rows)
    for (seen, unseen), model, residuals in zip(splits, fitted.fold_models, fitted.residuals, strict=True):
        again = LinearRegression().fit(rows.iloc[seen], target[seen])
        np.testing.assert_allclose(model.predict(rows), again.predict(rows))
        errors = np.abs(target[unseen] - again.predict(rows.iloc[unseen]))
        np.testing.assert_allclose(sorted(residuals), sorted(errors))


def test_the_prediction_is_that_of_the_model_of_all_rows_and_keeps_the_index() -> None:
    rows, target = draw(0, 40)
    asked = rows.tail(3).set_axis(["x", "y", "x"])

    predicted = fit_with_intervals(LinearRegression(), rows, target).predict(None, asked)

    assert list(predicted) == ["prediction", "lower", "upper", "unseen"]
    assert predicted.index.tolist() == ["x", "y", "x"]
    np.testing.assert_allclose(predicted["prediction"], LinearRegression().fit(rows, target).predict(asked))
    assert (predicted["lower"] < predicted["prediction"]).all()
    assert (predicted["prediction"] < predicted["upper"]).all()


def test_interval_scores_are_the_share_inside_and_the_mean_width() -> None:
    predicted = pd.DataFrame({"lower": [0.0, 0.0, 0.0, 2.0], "upper": [1.0, 1.0, 2.0, 4.0]})

    assert score_intervals(pd.Series([1.0, 1.1, 0.0, 3.0]), predicted) == {"coverage": 0.75, "interval_width": 1.5}
