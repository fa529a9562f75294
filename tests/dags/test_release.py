from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError


def test_it_runs_when_triggered_manually_and_asks_a_person(dag: DAG) -> None:
    assert dag.schedule is None
    assert dag.params["approval"] is True


def test_the_alias_moves_after_the_version_has_predicted_here(dag: DAG) -> None:
    before = dag.get_task("promote_to_champion").get_flat_relative_ids(upstream=True)

    assert {"copy_table", "copy_version", "predict_with_version", "check_version", "approve"} <= before


@pytest.mark.parametrize(
    ("name", "value"), [("source", "a b"), ("source", ""), ("model_uri", "runs:/1/model"), ("approval", "yes")]
)
def test_the_form_rejects_impossible_values(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)
