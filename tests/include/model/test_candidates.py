from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.model_selection import ParameterGrid

from include.model.candidates import CANDIDATES, NAMES, Candidate, UnknownCandidateError, describe, list_candidates

ROWS = np.random.default_rng(0).normal(size=(30, 3))


@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_estimators_accept_every_setting_of_their_grid(candidate: Candidate) -> None:
    for setting in ParameterGrid(dict(candidate.grid)):
        estimator = candidate.build(setting)
        assert is_regressor(estimator)
        assert setting.items() <= estimator.regressor.get_params().items()
        assert np.isfinite(clone(estimator).fit(ROWS, np.arange(30.0)).predict(ROWS)).all()


@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_fitting_is_reproducible(candidate: Candidate) -> None:
    once, twice = (candidate.build({}).fit(ROWS, np.arange(30.0)).predict(ROWS) for _ in range(2))

    np.testing.assert_array_equal(once, twice)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_the_unit_of_the_target_does_not_matter(candidate: Candidate, unit: float) -> None:
    target = ROWS @ [2, 1, 0] + 5
    (setting, *_) = ParameterGrid(dict(candidate.grid))

    predicted, scaled = (candidate.build(setting).fit(ROWS, y).predict(ROWS) for y in (target, target * unit))

    np.testing.assert_allclose(scaled / unit, predicted)
    assert np.std(predicted - target) < 0.5 * np.std(target)


def test_by_default_all_candidates_are_listed_with_their_grids() -> None:
    listed = list_candidates({})

    assert [(entry["name"], entry["grid"]) for entry in listed] == [(c.name, c.grid) for c in CANDIDATES]


def test_a_chosen_candidate_keeps_its_grid_unless_another_is_given() -> None:
    listed = list_candidates({"ElasticNet": {"alpha": [1, 2]}, "GradientBoostingRegressor": {}})

    assert [(entry["name"], entry["estimator"], entry["grid"]) for entry in listed] == [
        ("ElasticNet", "ElasticNet", {"alpha": [1, 2]}),
        ("GradientBoostingRegressor", "GradientBoostingRegressor", {"max_depth": [1, 2]}),
    ]


def test_the_list_survives_json() -> None:
    assert json.loads(json.dumps(list_candidates({}))) == list_candidates({})


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"Lasso": {}}, f"there is no candidate Lasso; there are {', '.join(NAMES)}"),
        ({"RidgeCV": {}, "ElasticNet": {"alhpa": [1], "l1": [1]}}, "ElasticNet has no alhpa, l1; it has alpha, .*tol"),
        ({"ElasticNet": {"alpha": 0.1}}, "ElasticNet.alpha: 0.1 is not a list of values to try"),
        ({"ElasticNet": {"alpha": []}}, r"ElasticNet.alpha: \[\] is not a list of values to try"),
        ({"ElasticNet": [1]}, r"ElasticNet: \[1\] is not a grid such as {'alpha': "),
    ],
    ids=["candidate", "hyper-parameters", "one value", "no value", "not a grid"],
)
def test_errors_name_what_is_wrong_and_what_is_available(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownCandidateError, match=message):
        list_candidates(chosen)


def test_the_description_shows_every_candidate_as_it_is_typed() -> None:
    typed = [json.loads(line.removeprefix("- ").strip("`")) for line in describe().splitlines()]

    assert {name: grid for entry in typed for name, grid in entry.items()} == {c.name: c.grid for c in CANDIDATES}


def test_describing_the_candidates_imports_no_heavy_library() -> None:
    program = "import sys, include.model.candidates as c; c.describe(); print(*{'numpy', 'sklearn'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "\n"
