"""The candidate models and the hyper-parameters to try for each.

Estimators are given by name and imported when they are built, so that a DAG file can read this list quickly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.compose import TransformedTargetRegressor

ALPHAS = [10 ** (-3 + 4 * step / 29) for step in range(30)]  # 0.001 to 10, evenly spaced on a logarithmic scale


class UnknownCandidateError(ValueError):
    """A candidate, a hyper-parameter or a grid cannot be used; the message lists what is available."""


@dataclass(frozen=True)
class Candidate:
    """An estimator, its fixed arguments, and the grid of hyper-parameters to try."""

    estimator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

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
        "sklearn.ensemble.ExtraTreesRegressor", {"n_estimators": 25, "random_state": 0}, {"min_samples_leaf": [2, 5]}
    ),
    Candidate(
        "sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 50, "random_state": 0}, {"max_depth": [1, 2]}
    ),
)
NAMES = [candidate.name for candidate in CANDIDATES]


def list_candidates(chosen: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Return the candidates to tune.

    :param chosen: grids by candidate, such as ``{"RidgeCV": {}, "ElasticNet": {"alpha": [0.1, 1]}}``. An empty grid
        means the candidate's default grid; an empty mapping means all candidates
    :return: ``name``, ``estimator`` (a name in ``CANDIDATES``) and ``grid`` of each, fit for JSON
    :raises UnknownCandidateError: a candidate or hyper-parameter does not exist, or a grid is not lists of values
    """
    for name, grid in chosen.items():
        _check_grid(find_candidate(name), grid)
    return [
        {"name": name, "estimator": name, "grid": dict(chosen.get(name) or find_candidate(name).grid)}
        for name in chosen or NAMES
    ]


def find_candidate(name: str) -> Candidate:
    """Return the candidate with this name.

    :raises UnknownCandidateError: there is none
    """
    if name not in NAMES:
        raise UnknownCandidateError(f"there is no candidate {name}; there are {', '.join(NAMES)}")
    return CANDIDATES[NAMES.index(name)]


def describe() -> str:
    """Return a Markdown list of the candidates and their default grids, in the form's JSON."""
    return "\n".join(f"- `{json.dumps({candidate.name: dict(candidate.grid)})}`" for candidate in CANDIDATES)


def _check_grid(candidate: Candidate, grid: Mapping[str, Any]) -> None:
    if not isinstance(grid, Mapping):
        raise UnknownCandidateError(f"{candidate.name}: {grid!r} is not a grid such as {dict(candidate.grid)}")
    candidate.build(grid)
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UnknownCandidateError(f"{candidate.name}.{name}: {values!r} is not a list of values to try")
