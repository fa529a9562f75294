"""The models that training chooses from, each with its settings to try: the one place that names them.

Estimators stand here by name and are imported when one is built, so that a DAG file can read this list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin

ALPHAS = [10 ** (-3 + 4 * step / 29) for step in range(30)]  # 0.001 to 10, evenly spaced on a logarithmic scale


class UnknownCandidateError(ValueError):
    """A candidate, a hyper-parameter or a grid cannot be used; the message lists what there is."""


@dataclass(frozen=True)
class Candidate:
    """An estimator, the arguments that it always gets, and the values to try of others."""

    estimator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The estimator's class."""
        return self.estimator.rpartition(".")[2]

    def build(self, hyper_parameters: Mapping[str, Any]) -> RegressorMixin:
        """Return the unfitted estimator."""
        module, _, name = self.estimator.rpartition(".")
        return getattr(import_module(module), name)(**{**self.arguments, **hyper_parameters})


# From the simplest to the most complex: of two that are equally good, the earlier one wins.
CANDIDATES = (
    Candidate("sklearn.linear_model.RidgeCV", {"alphas": ALPHAS}),
    Candidate("sklearn.linear_model.BayesianRidge"),
    Candidate("sklearn.linear_model.ElasticNet", grid={"alpha": [0.03, 0.1, 0.3], "l1_ratio": [0.1, 0.5, 0.9]}),
    Candidate(
        "sklearn.ensemble.ExtraTreesRegressor", {"n_estimators": 25, "random_state": 0}, {"min_samples_leaf": [2, 5]}
    ),
    Candidate(
        "sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 50, "random_state": 0}, {"max_depth": [1, 2]}
    ),
)
NAMES = [candidate.name for candidate in CANDIDATES]


def list_candidates(chosen: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Return the candidates to tune, as the tasks hand them on.

    :param chosen: grids by candidate, such as ``{"RidgeCV": {}, "ElasticNet": {"alpha": [0.1, 1]}}``; a candidate
        with an empty grid keeps its own. All candidates, if empty
    :return: ``name``, ``estimator`` (a name in ``CANDIDATES``) and ``grid`` of each
    :raises UnknownCandidateError: if there is no such candidate or hyper-parameter, or a grid holds no list of values
    """
    for name, grid in chosen.items():
        _check_grid(find_candidate(name), grid)
    return [
        {"name": name, "estimator": name, "grid": dict(chosen.get(name) or find_candidate(name).grid)}
        for name in chosen or NAMES
    ]


def find_candidate(name: str) -> Candidate:
    """Return the candidate of a name.

    :raises UnknownCandidateError: if there is none
    """
    try:
        return CANDIDATES[NAMES.index(name)]
    except ValueError:
        raise UnknownCandidateError(f"there is no candidate {name}; there are {', '.join(NAMES)}") from None


def check_hyper_parameters(candidate: Candidate, names: Mapping[str, Any]) -> None:
    """Refuse arguments that an estimator does not have.

    :raises UnknownCandidateError: naming them, and those that it has
    """
    known = candidate.build({}).get_params()
    if unknown := sorted(set(names) - set(known)):
        raise UnknownCandidateError(f"{candidate.name} has no {', '.join(unknown)}; it has {', '.join(known)}")


def describe() -> str:
    """Return a Markdown list of the candidates and their grids, for people who choose among them."""
    return "\n".join(f"- `{json.dumps({candidate.name: dict(candidate.grid)})}`" for candidate in CANDIDATES)


def _check_grid(candidate: Candidate, grid: Mapping[str, Any]) -> None:
    if not isinstance(grid, Mapping):
        raise UnknownCandidateError(f"{candidate.name}: {grid!r} is no grid, such as {dict(candidate.grid)}")
    check_hyper_parameters(candidate, grid)
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UnknownCandidateError(f"{candidate.name}.{name}: {values!r} is no list of values to try")
