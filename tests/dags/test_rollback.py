from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError


def test_the_version_predicts_before_the_champion_moves(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"choose_version"},
        "choose_version": {"predict_with_version", "move_champion"},
        "predict_with_version": {"move_champion"},
        "move_champion": {"end"},
        "end": set(),
    }


def test_it_runs_when_someone_triggers_it(dag: DAG) -> None:
    assert dag.schedule is None


def test_a_reason_is_required(dag: DAG) -> None:
    with pytest.raises(ParamValidationError, match="No value passed"):
        dag.params.validate()


@pytest.mark.parametrize(("name", "value"), [("reason", ""), ("version", "three"), ("version", 3)])
def test_the_form_refuses_what_makes_no_sense(dag: DAG, name: str, value: Any) -> None:
    param = dag.params.get_param(name)

    with pytest.raises(ParamValidationError):
        param.resolve(value)


@pytest.mark.parametrize("version", [None, "3"])
def test_the_version_may_be_left_out(dag: DAG, version: str | None) -> None:
    params = dag.params.__copy__()
    params["version"], params["reason"] = version, "bad tails"

    assert params.validate() == {"version": version, "reason": "bad tails"}


def test_the_person_who_triggered_it_is_recorded(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: dict[str, Any] = {}
    monkeypatch.setattr(steps, "roll_back", lambda *args, **kwargs: recorded.update(kwargs) or args[0])
    task: Any = dag.get_task("move_champion")

    dag_run = SimpleNamespace(triggering_user_name="ann")
    version = task.python_callable({"version": "2"}, [37.0], {"reason": "bad tails"}, dag_run)

    assert version == "2"
    assert recorded == {"by": "ann", "why": "bad tails"}
