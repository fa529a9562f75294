"""The candidate models and the hyper-parameters to try for each.

Estimators are given by name and imported when they are built, so that a DAG file can read this list quickly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.compose import TransformedTargetRegressor

MANY_ROWS = 20_000  # training rows, above which trees of unlimited size take too much time and memory
ALPHAS = [10 ** (-3 + 4 * step / 29) for step in range(30)]  # 0.001 to 10, evenly spaced on a logarithmic scale


class UnknownCandidateError(ValueError):
    """A candidate, a hyper-parameter or a grid cannot be used; the message lists what is available."""


@dataclass(frozen=True)
class Candidate:
    """An estimator, its fixed arguments, and the grid of hyper-parameters to try.

    :param min_rows: training rows from which on it is worth trying
    :param max_rows: training rows up to which it can be fitted in bounded time and memory
    """

    estimator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    min_rows: int = 0
    max_rows: float = inf

    @property
    def name(self) -> str:
        """The name of the estimator's class."""
        return self.estimator.rpartition(".")[2]

    def build(self, hyper_parameters: Mapping[str, Any]) -> TransformedTargetRegressor:
        """Return the unfitted estimator, which standardizes the target.

        Without that, penalties and tolerances would depend on the target's unit: with a standard deviation of 1e-3
        or 1e6, elastic net or Bayesian ridge predict the mean.

        :raises UnknownCandidateError: the estimator does not have a hyper-parameter
        """
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.preprocessing import StandardScaler

        module, _, name = self.estimator.rpartition(".")
        estimator = getattr(import_module(module), name)(**self.arguments)
        if unknown := sorted(set(hyper_parameters) - set(estimator.get_params())):
            known = ", ".join(estimator.get_params())
            raise UnknownCandidateError(f"{name} has no {', '.join(unknown)}; it has {known}")
        estimator.set_params(**hyper_parameters)
        return TransformedTargetRegressor(estimator, transformer=StandardScaler(), check_inverse=False)


# From the simplest to the most complex: among equally good candidates, the first one is chosen.
CANDIDATES = (
    Candidate("sklearn.linear_model.RidgeCV", {"alphas": ALPHAS}),
    Candidate("sklearn.linear_model.BayesianRidge"),
    Candidate("sklearn.linear_model.ElasticNet", grid={"alpha": [0.015, 0.05, 0.15], "l1_ratio": [0.1, 0.5, 0.9]}),
    Candidate(
        "sklearn.ensemble.ExtraTreesRegressor",
        {"n_estimators": 25, "random_state": 0},
        {"min_samples_leaf": [2, 5]},
        max_rows=MANY_ROWS,
    ),
    Candidate(
        "sklearn.ensemble.GradientBoostingRegressor",
        {"n_estimators": 50, "random_state": 0},
        {"max_depth": [1, 2]},
        max_rows=MANY_ROWS,
    ),
    Candidate(
        "sklearn.ensemble.HistGradientBoostingRegressor",
        {"random_state": 0},
        {"max_leaf_nodes": [7, 31]},
        min_rows=MANY_ROWS + 1,
    ),
)
NAMES = [candidate.name for candidate in CANDIDATES]


def list_candidates(chosen: Mapping[str, Mapping[str, Sequence[Any]]], rows: int) -> list[dict[str, Any]]:
    """Return the candidates to tune.

    :param chosen: grids by candidate, such as ``{"RidgeCV": {}, "ElasticNet": {"alpha": [0.1, 1]}}``. An empty grid
        means the candidate's default grid; an empty mapping means all candidates for so many rows
    :param rows: training rows
    :return: ``name``, ``estimator`` (a name in ``CANDIDATES``) and ``grid`` of each, fit for JSON
    :raises UnknownCandidateError: a candidate or hyper-parameter does not exist, a candidate is not for so many rows,
        or a grid is not lists of values
    """
    for name, grid in chosen.items():
        _check_grid(find_candidate(name), grid)
        if not can_fit(name, rows):
            raise UnknownCandidateError(f"{name} {_limit(find_candidate(name))}; there are {rows:,}")
    names = chosen or [candidate.name for candidate in CANDIDATES if candidate.min_rows <= rows <= candidate.max_rows]
    return [
        {"name": name, "estimator": name, "grid": dict(chosen.get(name) or find_candidate(name).grid)} for name in names
    ]


def can_fit(name: str, rows: int) -> bool:
    """Return whether there is a candidate of this name that can be fitted to so many training rows."""
    return name in NAMES and rows <= find_candidate(name).max_rows


def find_candidate(name: str) -> Candidate:
    """Return the candidate with this name.

    :raises UnknownCandidateError: there is none
    """
    if name not in NAMES:
        raise UnknownCandidateError(f"there is no candidate {name}; there are {', '.join(NAMES)}")
    return CANDIDATES[NAMES.index(name)]


def describe() -> str:
    """Return a Markdown list of the candidates and their default grids, in the form's JSON."""
    lines = (
        f"- `{json.dumps({candidate.name: dict(candidate.grid)})}` {_limit(candidate)}" for candidate in CANDIDATES
    )
    return "\n".join(line.rstrip() for line in lines)


def _limit(candidate: Candidate) -> str:
    if candidate.max_rows < inf:
        return f"is for up to {candidate.max_rows:,} training rows"
    return f"is tried from {candidate.min_rows:,} training rows on" if candidate.min_rows else ""


def _check_grid(candidate: Candidate, grid: Mapping[str, Any]) -> None:
    if not isinstance(grid, Mapping):
        raise UnknownCandidateError(f"{candidate.name}: {grid!r} is not a grid such as {dict(candidate.grid)}")
    candidate.build(grid)
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UnknownCandidateError(f"{candidate.name}.{name}: {values!r} is not a list of values to try")
