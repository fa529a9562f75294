from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, AssetOrTimeSchedule
from airflow.sdk.exceptions import ParamValidationError

from include.platform import alerts
from include.platform.assets import LABELLED, MONITORING, RETRAINING
from include.tasks import look

REPORT = {"version": "3", "findings": ["eye has drifted"], "cool_down_until": "", "url": "http://mlflow/run"}


def test_the_graph(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"find_champion"},
        "find_champion": {"measure_drift", "measure_decay", "publish_report"},
        "measure_drift": {"publish_report"},
        "measure_decay": {"publish_report"},
        "publish_report": {"judge", "tell_the_team", "ask_for_retraining"},
        "judge": {"all_is_well", "tell_the_team", "ask_for_retraining"},
        "all_is_well": {"end"},
        "tell_the_team": {"end"},
        "ask_for_retraining": {"end"},
        "end": set(),
    }


def test_it_runs_every_morning_and_after_new_labels_and_after_nothing_else(dag: DAG) -> None:
    schedule: Any = dag.schedule

    assert isinstance(schedule, AssetOrTimeSchedule)
    assert schedule.timetable.expression == "0 6 * * *"
    # neither predictions nor features, which a retraining brings forth: it would go round and round
    assert list(schedule.asset_condition.objects) == [LABELLED]


def test_retraining_and_report_are_announced_by_the_tasks_that_decide_them(dag: DAG) -> None:
    assert {task.task_id: task.outlets for task in dag.tasks if task.outlets} == {
        "publish_report": [MONITORING],
        "ask_for_retraining": [RETRAINING],
    }
    assert dag.get_task("publish_report").inlets == [RETRAINING]  # its last event starts the cool-down


def test_the_thresholds_are_those_that_the_false_alarms_were_measured_with(dag: DAG) -> None:
    assert dag.params.dump() == {
        "days": 30,
        "least_animals": 50,
        "alpha": 0.02,
        "least_psi": 0.25,
        "decay_margin": 0.1,
        "decay_confidence": 0.99,
        "cool_down_days": 7,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", 2), ("least_psi", -1), ("least_animals", 1), ("decay_confidence", 0.5), ("days", "many")],
)
def test_a_threshold_without_meaning_is_refused(dag: DAG, name: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


def call(dag: DAG, task_id: str, *arguments: Any, **context: Any) -> Any:
    return dag.get_task(task_id).python_callable(*arguments, **context)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("findings", "cool_down_until", "tasks"),
    [
        ([], "", ["all_is_well"]),
        ([], "2026-12-01 06:00", ["all_is_well"]),
        (["eye has drifted"], "", ["tell_the_team", "ask_for_retraining"]),
        (["eye has drifted"], "2026-12-01 06:00", ["tell_the_team"]),
    ],
)
def test_findings_are_always_told_and_retrain_unless_it_was_asked_for_lately(
    dag: DAG, findings: list[str], cool_down_until: str, tasks: list[str]
) -> None:
    assert call(dag, "judge", {"findings": findings, "cool_down_until": cool_down_until}) == tasks


def test_the_retraining_says_why(dag: DAG) -> None:
    event = SimpleNamespace(extra={})

    call(dag, "ask_for_retraining", REPORT, outlet_events={RETRAINING: event})

    assert event.extra == {"version": "3", "findings": ["eye has drifted"]}


def test_the_team_is_told_through_the_alerts(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[alerts.Alert] = []
    monkeypatch.setattr(alerts, "tell", told.append)

    call(dag, "tell_the_team", REPORT, run_id="manual__1")

    assert told == [look.describe(REPORT, "manual__1")]
