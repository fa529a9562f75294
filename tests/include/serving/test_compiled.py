import re
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from include.model.candidates import NAMES, find_candidate
from include.model.training import build_model
from include.problem import PROBLEM
from include.serving import compiled
from include.serving.clean import CleanReader
from include.serving.compiled import CannotCompileError, CompiledModel

from ...toy import HOUSES, make_rows
from .conftest import fit, fit_pipeline

COLUMNS = ["prediction", "lower", "upper"]


def columns(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Return rows as ``CleanReader`` does: a missing category is None."""
    texts = rows[PROBLEM.categories].astype(object)
    return rows.to_dict(orient="list") | texts.where(texts.notna(), None).to_dict(orient="list")


@pytest.mark.parametrize("name", NAMES)
def test_every_candidate_predicts_the_same_when_it_is_compiled(name: str, project_table: pd.DataFrame) -> None:
    model, rows = fit(name, project_table), project_table[PROBLEM.inputs]
    fast = CompiledModel(model, PROBLEM, rows.head(3))

    together = np.column_stack(fast.predict(columns(rows)))
    one_by_one = [np.column_stack(fast.predict(columns(rows.iloc[[row]]))) for row in range(10)]

    expected = model.predict(None, rows)[COLUMNS].to_numpy()
    assert rows.isna().any(axis=None)
    assert together == pytest.approx(expected, rel=1e-9)
    assert np.vstack(one_by_one) == pytest.approx(expected[:10], rel=1e-9)


@pytest.mark.parametrize(
    "regressor",
    [ExtraTreesRegressor, RandomForestRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor],
)
def test_trees_split_numbers_where_scikit_learn_does(regressor: type) -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(2000, 1))
    fitted = regressor(random_state=0).fit(cells, np.sin(5 * cells[:, 0]))
    if regressor is HistGradientBoostingRegressor:
        splits = np.concatenate([tree.nodes["num_threshold"] for (tree,) in fitted._predictors])
    else:
        splits = np.concatenate([tree.tree_.threshold for tree in np.ravel(fitted.estimators_)])
    near = rng.choice(splits, compiled.FEW_ROWS)  # as numbers of 32 bits, many are equal to the split next to them
    near = (near * rng.choice([1 - 1e-9, 1, 1 + 1e-9], len(near))).reshape(-1, 1)

    assert compiled._find_predict(fitted)(near) == pytest.approx(fitted.predict(near), rel=1e-9)


def test_a_missing_category_is_predicted_as_the_models_own_level_of_missing_cells() -> None:
    texts = dict.fromkeys(HOUSES.categories, "str")
    rows = make_rows().assign(index=["a", None, "b"] * 40).astype(texts | dict.fromkeys(HOUSES.numbers, float))
    model = fit("RidgeCV", rows, HOUSES)
    fast = CompiledModel(model, HOUSES, rows[HOUSES.inputs].head(3))
    records = rows[HOUSES.inputs].to_json(orient="records")

    columns = CleanReader(fast.domain).read(f'{{"dataframe_records": {records}}}'.encode())

    assert columns is not None
    assert columns["index"][:3] == ("a", None, "b")
    expected = model.predict(None, rows[HOUSES.inputs])[COLUMNS].to_numpy()
    assert np.column_stack(fast.predict(columns)) == pytest.approx(expected, rel=1e-9)


def test_the_ends_of_many_rows_are_those_of_few(training: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = CompiledModel(fit("RidgeCV", training), PROBLEM, training.head(3))
    rows = fast.domain.draw(50)
    few = np.column_stack(fast.predict(rows))

    monkeypatch.setattr(compiled, "FEW_SUMS", 0)

    assert np.column_stack(fast.predict(rows)) == pytest.approx(few, rel=1e-12)


def test_a_model_that_would_predict_something_else_is_not_compiled(training: pd.DataFrame) -> None:
    encode, predict = build_model(PROBLEM, "RidgeCV", find_candidate("RidgeCV").grid)
    model = fit_pipeline(make_pipeline(encode, FunctionTransformer(np.tanh), predict), training)

    with pytest.raises(CannotCompileError, match="would not predict the same"):
        CompiledModel(model, PROBLEM, training.head(3))


def test_a_model_of_other_parts_is_not_compiled(training: pd.DataFrame) -> None:
    model = fit("RidgeCV", training)
    model.residuals = None

    with pytest.raises(CannotCompileError, match="not made of the usual parts"):
        CompiledModel(model, PROBLEM, training.head(3))


def test_a_model_that_lacks_an_input_is_not_compiled(training: pd.DataFrame) -> None:
    with pytest.raises(CannotCompileError, match=f"does not take {re.escape(PROBLEM.inputs[0])}"):
        CompiledModel(fit("RidgeCV", training), PROBLEM, training.head(3).drop(columns=PROBLEM.inputs[0]))


def test_without_an_expected_range_numbers_about_the_example_are_compiled(training: pd.DataFrame) -> None:
    name = PROBLEM.numbers[0]
    features = tuple(
        replace(column, possible=(0, inf), expected=(-inf, inf)) if column.name == name else column
        for column in PROBLEM.features
    )
    example = training.head(3).assign(**{name: [1.0, 2.0, 30.0]})

    fast = CompiledModel(fit("RidgeCV", training), replace(PROBLEM, features=features), example)

    assert fast.domain.ranges[name] == (0, 30_000)
