from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, ParamValidationError

from include import config
from include.platform import storage
from include.platform.assets import MODEL_EVALUATED, MODEL_TRAINED
from include.serving import model_client
from include.tasks import promote as steps


def test_the_graph(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"prepare_holdout"},
        "prepare_holdout": {"predict_holdout"},
        "predict_holdout": {"evaluate_challenger"},
        "evaluate_challenger": {
            "check_gate", "promote_to_champion", "keep_challenger", "write_model_card"
        },
        "check_gate": {"approve", "promote_to_champion", "keep_challenger"},
        "approve": {"promote_to_champion", "keep_challenger"},
        "promote_to_champion": {"write_model_card"},
        "keep_challenger": {"write_model_card"},
        "write_model_card": {"call_model_server"},
        "call_model_server": {"end"},
        "end": set(),
    }  # fmt: skip


def test_it_runs_when_a_model_has_been_trained(dag: DAG) -> None:
    assert dag.schedule == [MODEL_TRAINED]


def test_the_outcome_is_announced_with_its_card_whatever_becomes_of_the_model_server(
    dag: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = SimpleNamespace(extra={})
    monkeypatch.setattr(steps, "write_card", lambda uri, decision: {"version": "3", **decision})
    assert {t.task_id: t.outlets for t in dag.tasks if t.outlets} == {"write_model_card": [MODEL_EVALUATED]}

    task: Any = dag.get_task("write_model_card")
    task.python_callable({"uri": "s3://x"}, None, {"promoted": False}, outlet_events={MODEL_EVALUATED: event})

    assert event.extra == {"version": "3", "promoted": False}


@pytest.mark.parametrize(
    ("passed", "approval", "branch"),
    [
        (True, False, "promote_to_champion"),
        (True, True, "approve"),
        (False, False, "keep_challenger"),
        (False, True, "keep_challenger"),
    ],
)
def test_the_gate_and_the_form_choose_the_branch(dag: DAG, passed: bool, approval: bool, branch: str) -> None:
    task: Any = dag.get_task("check_gate")

    assert task.python_callable({"passed": passed}, {"approval": approval}) == branch


@pytest.mark.parametrize("task_id", ["promote_to_champion", "keep_challenger", "write_model_card"])
def test_what_follows_a_branch_runs_unless_something_failed(dag: DAG, task_id: str) -> None:
    assert dag.get_task(task_id).trigger_rule == "none_failed_min_one_success"


@pytest.mark.parametrize(("promoted", "up"), [(False, True), (True, False)])
def test_the_model_server_is_left_alone_if_it_is_down_or_nothing_changed(
    dag: DAG, monkeypatch: pytest.MonkeyPatch, promoted: bool, up: bool
) -> None:
    monkeypatch.setattr(model_client, "is_up", lambda url: up)
    task: Any = dag.get_task("call_model_server")
    with pytest.raises(AirflowSkipException):
        task.python_callable({"promoted": promoted})


def test_a_promoted_version_predicts_over_http(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    table = pd.read_csv(config.POSSUM_CSV)
    monkeypatch.setattr(model_client, "is_up", lambda url: True)
    monkeypatch.setattr(model_client, "smoke_test", lambda url, rows, version: asked.update(rows=rows, version=version))
    monkeypatch.setattr(storage, "read_table", lambda uri: table)
    dag.get_task("call_model_server").python_callable({"promoted": True, "version": "3", "features_uri": "s3://x"})
    assert asked["version"] == "3"
    assert list(asked["rows"]) == [config.CASE, *config.RAW]
    assert 0 < len(asked["rows"]) < 10


def test_nobody_is_asked_unless_the_form_says_so(dag: DAG) -> None:
    params = dag.params.dump()

    assert params["approval"] is False
    assert {name: params[name] for name in config.GATE} == config.GATE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("margin", -0.1),
        ("confidence", 1),
        ("confidence", 0.5),
        ("max_rmse", 0),
        ("subgroup_max_rmse", {"sex": "2"}),
        ("subgroup_max_rmse", {"pop": 2}),
        ("approval", "yes"),
        ("approval_minutes", 0),
    ],
)
def test_the_form_refuses_what_makes_no_sense(dag: DAG, name: str, value: Any) -> None:
    param = dag.params.get_param(name)

    with pytest.raises(ParamValidationError):
        param.resolve(value)


def test_no_answer_counts_as_a_rejection(dag: DAG) -> None:
    approve: Any = dag.get_task("approve")

    assert approve.defaults == ["Reject"]
    assert approve.branches == {"Approve": "promote_to_champion", "Reject": "keep_challenger"}
    assert approve.execution_timeout is None
