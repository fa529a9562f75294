from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric_name

from include.evaluation.scores import metric_name
from include.monitoring.degradation import measure_degradation
from include.monitoring.drift import measure_drift
from include.monitoring.result import MonitoringResult
from include.spec import Number

from ...toy import AREA, DISTRICT, HOUSES, make_rows

NOTHING = pd.DataFrame()


def measure(recent: pd.DataFrame, training: pd.DataFrame | None = None) -> MonitoringResult:
    """Return what monitoring finds in recent rows, without errors."""
    training = make_rows() if training is None else training
    drift = measure_drift(training, recent, HOUSES, alpha=0.02, min_psi=0.25)
    return MonitoringResult(HOUSES, training, recent, drift, NOTHING, {})


@pytest.fixture
def result() -> MonitoringResult:
    errors = pd.Series([1.0, 1.0, 1.1] * 20)
    degradation = measure_degradation(errors, 2 * errors, confidence=0.99, margin=0.1)
    return replace(measure(make_rows().assign(**{AREA: lambda rows: rows[AREA] + 60})), degradation=degradation)


def test_findings_are_sentences_with_their_numbers(result: MonitoringResult) -> None:
    drift, degradation = result.findings()

    assert drift.startswith(f"{AREA} has drifted: PSI ")
    assert degradation.startswith(
        "the prediction error has grown: RMSE 2.07 k\u20ac, 2.00 times that on training rows ("
    )


def test_every_number_becomes_a_metric(result: MonitoringResult) -> None:
    metrics = result.metrics()

    assert {f"{name}_{DISTRICT}" for name in ("psi", "p", "statistic", "psi_by_chance")} < set(metrics)
    assert (metrics["recent_rows"], metrics["findings"], metrics["degraded"]) == (120, 2, 1)
    assert len(metrics) == 4 * len(HOUSES.inputs) + len(HOUSES.numbers) + 3 + 7
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_report_states_the_power_of_the_comparison(result: MonitoringResult) -> None:
    least = result.degradation["ratio_found"]

    assert f"an error {least:.1f} times as large would be found with a probability of 80%" in result.notes()
    assert result.metrics()["ratio_found"] == least > 1.1


def test_what_was_not_measured_is_neither_a_finding_nor_a_note() -> None:
    result = MonitoringResult(HOUSES, make_rows(), NOTHING, NOTHING, NOTHING, {})

    assert (result.findings(), result.notes(), result.groups) == ([], [], [])


def test_another_mix_is_a_note_and_says_how_the_others_were_compared() -> None:
    training = make_rows()
    result = measure(training[training[DISTRICT] == "south"])

    assert result.findings() == []
    share = f"{(training[DISTRICT] == 'south').mean():.0%}"
    assert result.notes() == [
        f"{DISTRICT} has another mix: 100% of the rows are from south, in training {share}",
        f"other inputs were compared within the groups of {DISTRICT}",
    ]


def test_rows_of_an_unseen_group_are_a_finding_and_their_number_is_noted() -> None:
    result = measure(
        make_rows(seed=1).assign(**{DISTRICT: lambda rows: rows[DISTRICT].where(rows.index >= 30, "moon")})
    )

    assert result.findings() == [f"{DISTRICT} has drifted: 30 of 120 rows are from moon, which training lacks"]
    assert result.notes() == [
        f"other inputs were compared within the groups of {DISTRICT}; "
        "30 rows of groups that training lacks were left out"
    ]


def test_a_single_row_of_an_unseen_group_is_noted() -> None:
    result = measure(make_rows(seed=1).assign(**{DISTRICT: lambda rows: rows[DISTRICT].where(rows.index > 0, "moon")}))

    assert result.findings() == []
    assert result.notes() == [f"{DISTRICT}: 1 of 120 rows are from moon, which training lacks"]


def test_a_category_that_is_missing_is_a_finding_with_both_shares() -> None:
    result = measure(make_rows(seed=1).assign(index=lambda rows: rows["index"].where(rows.index >= 60)))

    assert result.findings() == ["index has drifted: 50% of the cells are missing, in training 0%"]


def test_numbers_outside_of_the_expected_range_and_rejected_files_are_noted_and_counted() -> None:
    rows = make_rows(seed=1)
    rows.loc[:2, AREA], rows.loc[3, AREA], rows.loc[:1, "lambda"] = 0.09, np.nan, 40
    result = replace(measure(rows), rejected=2)

    assert f"numbers outside of the expected range in 120 recent rows: {AREA} 3, lambda 2" in result.notes()
    assert "files rejected in the period: 2" in result.notes()
    metrics = result.metrics()
    assert metrics[f"outside_expected_{metric_name(AREA)}"] == 3
    assert metrics["rejected_files"] == 2


def test_the_report_lists_findings_and_notes(result: MonitoringResult) -> None:
    lines = result.report().splitlines()

    assert lines[0] == "## Findings"
    assert lines[2:4] == [f"- {finding}" for finding in result.findings()]
    assert lines[-len(result.notes()) :] == [f"- {note}" for note in result.notes()]
    assert "- none" in MonitoringResult(HOUSES, make_rows(), NOTHING, NOTHING, NOTHING, {}).report()


def test_mlflow_accepts_the_metrics_of_any_column_and_each_has_its_own() -> None:
    columns = ["price", "price $", "price %", "a/b", "a//b", "../a", "\u5927\u9678", "m\u00b2"]
    columns += ["x" * 400, "x" * 401, "a\nb"]
    gate = replace(HOUSES.gate, subgroup_max_rmse={})
    problem = replace(HOUSES, target=Number("y"), features=tuple(map(Number, columns)), gate=gate)
    rows = pd.DataFrame(1.0, index=range(3), columns=columns)
    drift = pd.DataFrame(1.0, index=columns, columns=["statistic", "p_value", "psi", "psi_by_chance"])
    metrics = MonitoringResult(problem, rows, rows, drift.assign(drifted=False, grouped=False), NOTHING, {}).metrics()

    for name in metrics:
        _validate_metric_name(name)
    assert len(metrics) == 5 * len(columns) + 3
    assert metric_name("head_length 2.5") == "head_length 2.5"
