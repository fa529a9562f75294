import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from include.data.features import build_transformer
from include.model.candidates import NAMES
from include.model.training import fit_with_intervals
from include.problem import PROBLEM
from include.serving import checked_model, explanation, scoring
from include.serving.scoring import JSON, Response, Scorer
from include.spec import Category

from .conftest import Records, fit, store

CELLS = [None, 1, 0, -1, 10**25, 2**53 + 1, 1e308, float("nan"), True, "", " ", "nan", "NA", "?", [], {}, [1.0]]
REQUESTS = 250


@pytest.fixture(scope="module")
def scorer(stored: Any) -> Scorer:
    return Scorer(stored)


def change_cell(rng: random.Random, name: str, cell: Any) -> Any:
    number = name in PROBLEM.numbers
    changes = [
        rng.choice(CELLS),
        str(cell),
        round(cell) if number else f" {cell} ",
        cell * 100 if number else f"{cell}.0",
    ]
    return rng.choice(
        [*changes, *(PROBLEM.number(name).expected if number else ("?", int(cell) if cell.isdigit() else 1))]
    )


def change_columns(rng: random.Random, columns: list[str]) -> list[str]:
    columns = rng.sample(columns, len(columns)) if rng.random() < 0.5 else list(columns)
    if rng.random() < 0.1:
        columns.remove(rng.choice(columns))
    if rng.random() < 0.1:
        columns.insert(rng.randrange(len(columns)), rng.choice([*PROBLEM.inputs, "other", PROBLEM.target.name]))
    return columns


def make_request(rng: random.Random, records: Records) -> dict[str, Any]:
    """Return a request that is clean, or changed in some cells, its columns or its form."""
    rows = [dict(rng.choice(records)) for _ in range(rng.choice([1, 1, 2, 5]))]
    for row in rows:
        for name in [name for name in row if rng.random() < rng.choice([0, 0, 0.1])]:
            row[name] = change_cell(rng, name, row[name])
    columns = change_columns(rng, list(rows[0]))
    others = rng.choice([{}] * 12 + [{"params": {}}, {"other": 1}, {"params": None}])
    if rng.random() < 0.5:
        changed = [{name: row.get(name) for name in columns} for row in rows]
        changed[0].pop(columns[0] if rng.random() < 0.1 else "", None)
        return {"dataframe_records": changed} | others
    split: dict[str, Any] = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
    if rng.random() < 0.3:
        split["index"] = rng.choices(range(-2, 10**6), k=rng.choice([len(rows), len(rows), 3]))
    if rng.random() < 0.05:
        split["data"][0].pop()
    return {"dataframe_split": split} | others


def test_whatever_is_answered_at_once_is_what_the_checked_model_answers(scorer: Scorer, training: pd.DataFrame) -> None:
    rng, records = random.Random(0), json.loads(training[PROBLEM.inputs].dropna().to_json(orient="records"))
    answered = []
    for _ in range(REQUESTS):
        body = json.dumps(make_request(rng, records)).encode()
        if (fast := scorer.answer_clean(body)) is None:
            continue
        slow = scorer.answer(body, JSON)
        assert_equal(fast, slow, body)
        answered.append(body)
    assert REQUESTS / 5 < len(answered) < REQUESTS


def assert_equal(fast: Response, slow: Response, body: bytes) -> None:
    assert (fast.status, fast.media_type) == (slow.status, slow.media_type), (body, slow.body)
    assert {**fast.inputs} == {name: tuple(cells) for name, cells in slow.inputs.items()}
    assert list(fast.outputs) == list(slow.outputs)
    for name, cells in slow.outputs.items():
        assert fast.outputs[name] == (pytest.approx(cells, rel=1e-9, abs=0) if name != "warnings" else cells), body
    assert json.loads(fast.body)["predictions"] == list(records_of(fast))
    assert json.loads(slow.body)["predictions"] == list(records_of(slow))


def records_of(response: Response) -> Iterator[dict[str, Any]]:
    return (dict(zip(response.outputs, row, strict=True)) for row in zip(*response.outputs.values(), strict=True))


@pytest.mark.parametrize("change", [{}, dict.fromkeys(PROBLEM.numbers)])
def test_a_clean_row_is_answered_at_once_whatever_the_order_of_its_columns(
    scorer: Scorer, records: Records, change: dict[str, Any]
) -> None:
    row = dict(reversed((records[0] | change).items()))

    found = scorer.answer_clean(json.dumps({"dataframe_records": [row]}).encode())

    assert found is not None
    assert found.status == 200


@pytest.mark.parametrize(
    "change",
    [
        *[{name: PROBLEM.number(name).expected[1] + 1} for name in PROBLEM.numbers],
        *[{name: "?"} for name in PROBLEM.categories],
        *[{column.name: None} for column in PROBLEM.features if isinstance(column, Category) and not column.nullable],
    ],
)
def test_a_row_with_something_to_say_of_is_not_answered_at_once(
    scorer: Scorer, records: Records, change: dict[str, Any]
) -> None:
    assert scorer.answer_clean(json.dumps({"dataframe_records": [records[0] | change]}).encode()) is None


def test_an_impossible_prediction_is_not_answered_at_once(
    scorer: Scorer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"dataframe_records": records}).encode()
    target = replace(PROBLEM.target, possible=(0.0, 1.0), expected=(0.0, 1.0))
    for module in (scoring, checked_model):
        monkeypatch.setattr(module, "PROBLEM", replace(PROBLEM, target=target))

    assert scorer.answer_clean(body) is None
    assert "predictions are impossible" in json.loads(scorer.answer(body, JSON).body)["message"]


def test_a_model_that_cannot_be_compiled_is_served_by_mlflow_alone(
    training: pd.DataFrame, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    model = fit("RidgeCV", training)
    model.levels = {}
    scorer = Scorer(store(model, training[PROBLEM.inputs].head(3)))
    body = json.dumps({"dataframe_records": records}).encode()

    assert "the model does not list the levels of" in caplog.text
    assert scorer.answer_clean(body) is None
    assert scorer.answer(body, JSON).status == 200


@pytest.mark.parametrize("name", NAMES)
def test_base_and_contributions_are_the_prediction(training: pd.DataFrame, name: str) -> None:
    inputs = training[PROBLEM.inputs]
    scorer = Scorer(store(fit(name, training), inputs.head(3)))
    rows = json.loads(inputs.to_json(orient="split", index=False))

    answer = scorer.answer(json.dumps({"dataframe_split": rows, "params": {"explain": True}}).encode(), JSON)

    predictions = json.loads(answer.body)["predictions"]
    contributions = pd.DataFrame([row["contributions"] for row in predictions])
    assert list(contributions) == PROBLEM.inputs
    assert [row["base"] + sum(row["contributions"].values()) for row in predictions] == pytest.approx(
        [row["prediction"] for row in predictions], rel=1e-9
    )
    assert (contributions.std() > 0).any()
    if "Trees" not in name and "Boosting" not in name:
        assert contributions.mean().to_numpy() == pytest.approx(0, abs=1e-9), "those of the training rows cancel out"


def test_another_value_of_an_input_changes_its_contribution_only(scorer: Scorer, training: pd.DataFrame) -> None:
    rows = training[PROBLEM.inputs].dropna()
    first = rows.head(1)
    others = {name: rows.loc[rows[name] != first[name].iloc[0], name].iloc[0] for name in rows}
    changed = pd.concat([first, *(first.assign(**{name: other}) for name, other in others.items())])
    request = {"dataframe_split": json.loads(changed.to_json(orient="split", index=False)), "params": {"explain": True}}

    answer = scorer.answer(json.dumps(request).encode(), JSON)

    contributions = pd.DataFrame(answer.outputs["contributions"])
    differ = ~np.isclose(contributions.iloc[1:], contributions.iloc[0], rtol=1e-9)
    assert differ.tolist() == np.eye(len(PROBLEM.inputs), dtype=bool).tolist()


@pytest.fixture(scope="module")
def trees(training: pd.DataFrame) -> Scorer:
    return Scorer(store(fit("GradientBoostingRegressor", training), training[PROBLEM.inputs].head(3)))


def test_trees_explain_themselves_only_where_shap_is_installed(
    trees: Scorer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    explanation._build_explainer.cache_clear()
    request: dict[str, Any] = {"dataframe_records": records}

    refused = trees.answer(json.dumps(request | {"params": {"explain": True}}).encode(), JSON)
    answered = trees.answer(json.dumps(request | {"params": {"explain": False}}).encode(), JSON)

    assert (refused.status, refused.refused) == (400, 0)
    assert "lacks the package shap" in json.loads(refused.body)["message"]
    assert list(answered.outputs) == ["prediction", "lower", "upper", "warnings"]


@pytest.mark.parametrize("regressor", [KNeighborsRegressor(), DummyRegressor()])
def test_other_models_cannot_explain_themselves(training: pd.DataFrame, regressor: Any) -> None:
    inputs, target = training[PROBLEM.inputs], training[PROBLEM.target.name]
    predict = TransformedTargetRegressor(regressor, transformer=StandardScaler(), check_inverse=False)
    model = fit_with_intervals(make_pipeline(build_transformer(PROBLEM), predict), inputs, target)

    class Loaded:
        def unwrap_python_model(self) -> Any:
            return model

    with pytest.raises(explanation.CannotExplainError, match="only linear models and trees"):
        explanation.explain(Loaded(), inputs)  # type: ignore[arg-type]
