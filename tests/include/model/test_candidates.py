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


def test_from_the_simplest_to_the_most_complex() -> None:
    assert NAMES == [
        "RidgeCV",
        "BayesianRidge",
        "ElasticNet",
        "ExtraTreesRegressor",
        "GradientBoostingRegressor",
    ]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_every_setting_of_every_grid_is_one_that_the_estimator_takes(candidate: Candidate) -> None:
    rows, target = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30.0)

    for setting in ParameterGrid(dict(candidate.grid)):
        estimator = candidate.build(setting)
        assert is_regressor(estimator)
        assert setting.items() <= estimator.get_params().items()
        assert np.isfinite(clone(estimator).fit(rows, target).predict(rows)).all()


def test_a_candidate_learns_the_same_twice() -> None:
    rows, target = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30.0)

    for candidate in CANDIDATES:
        once, twice = (candidate.build({}).fit(rows, target).predict(rows) for _ in range(2))
        np.testing.assert_array_equal(once, twice)


def test_the_alphas_of_ridge_are_30_from_a_thousandth_to_10() -> None:
    assert CANDIDATES[0].build({}).alphas == pytest.approx(np.logspace(-3, 1, 30))


def test_left_empty_the_choice_is_all_with_their_own_grids() -> None:
    listed = list_candidates({})

    assert [(entry["name"], entry["grid"]) for entry in listed] == [(c.name, c.grid) for c in CANDIDATES]


def test_a_chosen_candidate_keeps_its_grid_unless_given_another() -> None:
    listed = list_candidates({"ElasticNet": {"alpha": [1, 2]}, "GradientBoostingRegressor": {}})

    assert listed == [
        {"name": "ElasticNet", "estimator": "ElasticNet", "grid": {"alpha": [1, 2]}},
        {
            "name": "GradientBoostingRegressor",
            "estimator": "GradientBoostingRegressor",
            "grid": {"max_depth": [1, 2]},
        },
    ]


def test_what_is_listed_can_be_handed_on_as_json() -> None:
    assert json.loads(json.dumps(list_candidates({}))) == list_candidates({})


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"Lasso": {}}, f"there is no candidate Lasso; there are {', '.join(NAMES)}"),
        ({"RidgeCV": {}, "ElasticNet": {"alhpa": [1], "l1": [1]}}, "ElasticNet has no alhpa, l1; it has alpha, .*tol"),
        ({"ElasticNet": {"alpha": 0.1}}, "ElasticNet.alpha: 0.1 is no list of values to try"),
        ({"ElasticNet": {"alpha": []}}, r"ElasticNet.alpha: \[\] is no list of values to try"),
        ({"ElasticNet": [1]}, r"ElasticNet: \[1\] is no grid, such as {'alpha': "),
    ],
    ids=["candidate", "hyper-parameters", "one value", "no value", "no grid"],
)
def test_what_cannot_be_used_is_named_with_what_there_is(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownCandidateError, match=message):
        list_candidates(chosen)


def test_the_description_shows_every_candidate_as_it_would_be_typed() -> None:
    typed = [json.loads(line.removeprefix("- ").strip("`")) for line in describe().splitlines()]

    assert {name: grid for entry in typed for name, grid in entry.items()} == {c.name: c.grid for c in CANDIDATES}


def test_reading_the_list_loads_no_heavy_library() -> None:
    program = "import sys, include.model.candidates as c; c.describe(); print(*{'numpy', 'sklearn'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "\n"
