from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError


def test_it_runs_when_triggered_manually(dag: DAG) -> None:
    assert dag.schedule is None


def test_the_version_predicts_before_the_champion_changes(dag: DAG) -> None:
    move = dag.get_task("move_champion")

    assert {"choose_version", "predict_with_version"} <= move.upstream_task_ids
    assert move.trigger_rule == "all_success"


def test_a_reason_is_required(dag: DAG) -> None:
    with pytest.raises(ParamValidationError, match="No value passed"):
        dag.params.validate()


@pytest.mark.parametrize(("name", "value"), [("reason", ""), ("version", "three"), ("version", 3)])
def test_the_form_rejects_impossible_values(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.mark.parametrize("version", [None, "3"])
def test_the_version_may_be_left_out(dag: DAG, version: str | None) -> None:
    params = dag.params.__copy__()
    params["version"], params["reason"] = version, "wrong predictions"

    assert params.validate() == {"version": version, "reason": "wrong predictions"}
