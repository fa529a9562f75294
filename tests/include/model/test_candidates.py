import json
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.model_selection import ParameterGrid

from include.model.candidates import (
    CANDIDATES,
    NAMES,
    Candidate,
    UnknownCandidateError,
    can_fit,
    describe,
    list_candidates,
)

ROWS = np.random.default_rng(0).normal(size=(200, 3))


@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_estimators_accept_every_setting_of_their_grid(candidate: Candidate) -> None:
    for setting in ParameterGrid(dict(candidate.grid)):
        estimator = candidate.build(setting)
        assert is_regressor(estimator)
        assert setting.items() <= estimator.regressor.get_params().items()
        assert np.isfinite(clone(estimator).fit(ROWS, np.arange(200.0)).predict(ROWS)).all()


@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_fitting_is_reproducible(candidate: Candidate) -> None:
    once, twice = (candidate.build({}).fit(ROWS, np.arange(200.0)).predict(ROWS) for _ in range(2))

    np.testing.assert_array_equal(once, twice)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("candidate", CANDIDATES, ids=NAMES)
def test_the_unit_of_the_target_does_not_matter(candidate: Candidate, unit: float) -> None:
    target = ROWS @ [2, 1, 0] + 5
    (setting, *_) = ParameterGrid(dict(candidate.grid))

    predicted, scaled = (candidate.build(setting).fit(ROWS, y).predict(ROWS) for y in (target, target * unit))

    np.testing.assert_allclose(scaled / unit, predicted)
    assert np.std(predicted - target) < 0.5 * np.std(target)


SMALL = [candidate for candidate in CANDIDATES if candidate.name != "HistGradientBoostingRegressor"]


def test_by_default_all_candidates_for_so_many_rows_are_listed_with_their_grids() -> None:
    few, many = list_candidates({}, 20_000), list_candidates({}, 20_001)

    assert [(entry["name"], entry["grid"]) for entry in few] == [(c.name, c.grid) for c in SMALL]
    assert [entry["name"] for entry in many] == [*NAMES[:3], "HistGradientBoostingRegressor"]


def test_a_chosen_candidate_keeps_its_grid_unless_another_is_given() -> None:
    listed = list_candidates({"ElasticNet": {"alpha": [1, 2]}, "GradientBoostingRegressor": {}}, 81)

    assert [(entry["name"], entry["estimator"], entry["grid"]) for entry in listed] == [
        ("ElasticNet", "ElasticNet", {"alpha": [1, 2]}),
        ("GradientBoostingRegressor", "GradientBoostingRegressor", {"max_depth": [1, 2]}),
    ]


def test_any_candidate_may_be_chosen_for_few_rows() -> None:
    assert [list_candidates({name: {}}, 30)[0]["name"] for name in NAMES] == NAMES


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"Lasso": {}}, f"there is no candidate Lasso; there are {', '.join(NAMES)}"),
        ({"RidgeCV": {}, "ElasticNet": {"alhpa": [1], "l1": [1]}}, "ElasticNet has no alhpa, l1; it has alpha, .*tol"),
        ({"ElasticNet": {"alpha": 0.1}}, "ElasticNet.alpha: 0.1 is not a list of values to try"),
        ({"ElasticNet": {"alpha": []}}, r"ElasticNet.alpha: \[\] is not a list of values to try"),
        ({"ElasticNet": [1]}, r"ElasticNet: \[1\] is not a grid such as {'alpha': "),
        (
            {"RidgeCV": {}, "ExtraTreesRegressor": {}},
            "ExtraTreesRegressor is for up to 20,000 training rows; there are 75,000",
        ),
    ],
    ids=["candidate", "hyper-parameters", "one value", "no value", "not a grid", "too many rows"],
)
def test_errors_name_what_is_wrong_and_what_is_available(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownCandidateError, match=message):
        list_candidates(chosen, 75_000)


@pytest.mark.parametrize(
    ("name", "rows", "possible"),
    [
        ("ExtraTreesRegressor", 20_000, True),
        ("ExtraTreesRegressor", 20_001, False),
        ("RidgeCV", 10**9, True),
        ("HistGradientBoostingRegressor", 30, True),
        ("Lasso", 30, False),
    ],
)
def test_a_candidate_says_how_many_rows_it_can_be_fitted_to(name: str, rows: int, possible: bool) -> None:
    assert can_fit(name, rows) == possible


def test_the_description_shows_every_candidate_as_it_is_typed_and_its_limits() -> None:
    lines = [line.removeprefix("- `").partition("`") for line in describe().splitlines()]

    assert [json.loads(typed) for typed, _, _ in lines] == [{c.name: c.grid} for c in CANDIDATES]
    limits = {name: limit.strip() for name, (_, _, limit) in zip(NAMES, lines, strict=True)}
    assert limits["RidgeCV"] == ""
    assert limits["ExtraTreesRegressor"] == "is for up to 20,000 training rows"
    assert limits["HistGradientBoostingRegressor"] == "is tried from 20,001 training rows on"
