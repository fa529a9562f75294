"""The forms of the DAGs: what they begin with, accept and refuse."""

from copy import deepcopy
from dataclasses import asdict
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError

from include.model import candidates
from include.problem import PROBLEM

CANDIDATES: list[Any] = ["RidgeCV", [1, 2], None, {"RidgeCV": [0.1]}, {"RidgeCV": None}]
LIMITS: list[Any] = [{column: limit} for column in PROBLEM.categories[:1] for limit in ("2", 0)]
REFUSED: dict[str, list[tuple[str, Any]]] = {
    "mlflow_tutorial_dag": [("experiment", ""), ("model", "")],
    "train": [("candidates", given) for given in CANDIDATES],
    "promote": [
        *[("margin", -0.1), ("confidence", 1), ("confidence", 0.5), ("max_rmse", 0)],
        *[("subgroup_max_rmse", given) for given in ({"a column that there is not": 2}, *LIMITS)],
        *[("approval", "yes"), ("approval_minutes", 0), ("version", "three"), ("version", 3)],
    ],
    "monitor": [
        *[("alpha", 2), ("min_psi", -1), ("min_samples", 1), ("degradation_confidence", 0.5), ("days", "many")]
    ],
    "rollback": [("reason", ""), ("version", "three"), ("version", 3)],
    "release": [("source", "a b"), ("source", ""), ("model_uri", "runs:/1/model"), ("approval", "yes")],
}


@pytest.mark.parametrize(
    ("dag_id", "name", "value"), [(dag_id, *given) for dag_id, refused in REFUSED.items() for given in refused], ids=str
)
def test_a_form_refuses_impossible_values(dag_bag: DagBag, dag_id: str, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag_bag.dags[dag_id].params.get_param(name).resolve(value)


def test_the_form_of_train_lists_candidates_and_accepts_them_with_grids(dag_bag: DagBag) -> None:
    param, given = dag_bag.dags["train"].params.get_param("candidates"), {"RidgeCV": {}, "ElasticNet": {"alpha": [1]}}

    assert param.resolve(given) == given
    assert all(f'{{"{name}": {{' in param.schema["description_md"] for name in candidates.NAMES)


def test_the_form_of_promote_begins_with_the_limits_of_the_problem(dag_bag: DagBag) -> None:
    params = dag_bag.dags["promote"].params.dump()

    assert asdict(PROBLEM.gate).items() <= params.items()
    assert (params["approval"], params["version"]) == (False, None)


@pytest.mark.parametrize("version", [None, "3"])
def test_a_rollback_needs_a_reason_but_no_version(dag_bag: DagBag, version: str | None) -> None:
    params = deepcopy(dag_bag.dags["rollback"].params)
    with pytest.raises(ParamValidationError, match="No value passed"):
        params.validate()

    params["version"], params["reason"] = version, "wrong predictions"

    assert params.validate() == {"version": version, "reason": "wrong predictions"}


def test_a_release_asks_a_person_and_housekeeping_deletes_unless_the_form_says_otherwise(dag_bag: DagBag) -> None:
    assert dag_bag.dags["release"].params["approval"] is True
    assert dag_bag.dags["housekeeping"].params.validate() == {"dry_run": False}
