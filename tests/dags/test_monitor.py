from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, AssetOrTimeSchedule
from airflow.sdk.exceptions import ParamValidationError

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.services.assets import LABELLED, RETRAINING


def test_it_runs_every_morning_and_after_new_targets(dag: DAG) -> None:
    schedule: Any = dag.schedule

    assert isinstance(schedule, AssetOrTimeSchedule)
    assert schedule.timetable.expression == "0 6 * * *"
    assert list(schedule.asset_condition.objects) == [LABELLED]


def test_the_cool_down_begins_with_the_last_request_of_a_retraining(dag: DAG) -> None:
    assert dag.get_task("publish_report").inlets == [RETRAINING]
    assert dag.get_task("request_retraining").outlets == [RETRAINING]


def test_the_defaults_are_those_that_the_false_alarms_were_measured_with(dag: DAG) -> None:
    assert dag.params.dump() == {
        "days": 30,
        "min_samples": 50,
        "alpha": 0.02,
        "min_psi": 0.25,
        "degradation_margin": 0.1,
        "degradation_confidence": 0.95,
        "cool_down_days": 7,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", 2), ("min_psi", -1), ("min_samples", 1), ("degradation_confidence", 0.5), ("days", "many")],
)
def test_the_form_rejects_impossible_values(dag: DAG, name: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.mark.parametrize(
    ("findings", "no_retraining", "tasks"),
    [
        ([], "", ["no_findings"]),
        (["a column has drifted"], "", ["alert_team", "request_retraining"]),
        (["a column has drifted"], "requested before", ["alert_team"]),
    ],
)
def test_findings_always_alert_and_request_a_retraining_unless_there_is_a_reason_not_to(
    dag: DAG, findings: list[str], no_retraining: str, tasks: list[str]
) -> None:
    decide: Any = dag.get_task("decide")

    assert decide.python_callable({"findings": findings, "no_retraining": no_retraining}) == tasks
    assert set(tasks) <= decide.downstream_task_ids


def test_the_champion_predicts_in_a_process_of_its_own(dag: DAG) -> None:
    predict = dag.get_task("predict_labelled")

    assert isinstance(predict, ModelLoadAndPredictOperator)
    assert predict.upstream_task_ids == {"select_labelled"}
    assert "predict_labelled" in dag.get_task("measure_degradation").upstream_task_ids


def test_one_measurement_is_enough_for_a_report(dag: DAG) -> None:
    report = dag.get_task("publish_report")

    assert {"select_recent", "measure_drift", "measure_degradation"} <= report.upstream_task_ids
    assert report.trigger_rule == "none_failed_min_one_success"
