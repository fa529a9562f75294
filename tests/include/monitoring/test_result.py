from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric_name

from include.evaluation.scores import metric_name
from include.monitoring.drift import measure_degradation, measure_drift
from include.monitoring.result import MonitoringResult, cool_down_until

from ...toy import AREA, DISTRICT, HOUSES, make_rows


@pytest.fixture
def result() -> MonitoringResult:
    training = make_rows()
    recent = training.assign(**{AREA: training[AREA] + 60})
    drift = measure_drift(training, recent, HOUSES, alpha=0.02, min_psi=0.25)
    errors = pd.DataFrame({"error": [1.0, -1.0, 1.1] * 20, "sample": "holdout"})
    degradation = measure_degradation(errors["error"], 2 * errors["error"], confidence=0.99, margin=0.1)
    return MonitoringResult(training, recent, drift, pd.concat([errors, errors.assign(sample="recent")]), degradation)


def test_findings_are_sentences_with_their_numbers(result: MonitoringResult) -> None:
    drift, degradation = result.findings("k\u20ac")

    assert drift.startswith(f"{AREA} has drifted: PSI ")
    assert degradation.startswith("the prediction error has grown: RMSE 2.07 k\u20ac, 2.00 times that of the holdout (")


def test_every_number_becomes_a_metric(result: MonitoringResult) -> None:
    metrics = result.metrics()

    assert {f"{name}_{DISTRICT}" for name in ("psi", "p", "statistic", "psi_by_chance")} < set(metrics)
    assert (metrics["recent_rows"], metrics["findings"], metrics["degraded"]) == (120, 2, 1)
    assert len(metrics) == 4 * len(HOUSES.inputs) + 2 + 6
    assert all(np.isfinite(value) for value in metrics.values())


def test_what_was_not_measured_is_not_a_finding() -> None:
    nothing = pd.DataFrame()

    assert MonitoringResult(make_rows(), nothing, nothing, nothing, {}).findings("") == []


def test_mlflow_accepts_the_metrics_of_any_column_and_each_has_its_own() -> None:
    columns = [
        "price",
        "price $",
        "price %",
        "a/b",
        "a//b",
        "../a",
        "\u5927\u9678",
        "m\u00b2",
        "x" * 400,
        "x" * 401,
        "a\nb",
    ]
    drift = pd.DataFrame(1.0, index=columns, columns=["statistic", "p_value", "psi", "psi_by_chance"])
    metrics = MonitoringResult(drift, drift, drift.assign(drifted=False), drift, {}).metrics()

    for name in metrics:
        _validate_metric_name(name)
    assert len(metrics) == 4 * len(columns) + 2
    assert metric_name("head_length 2.5") == "head_length 2.5"


def test_the_cool_down_starts_with_the_last_retraining() -> None:
    now = datetime.now(UTC)
    last = now - timedelta(days=2)

    assert cool_down_until(None, 7) == ""
    assert cool_down_until(last, 1) == ""
    assert cool_down_until(last, 7) == f"{now + timedelta(days=5):%Y-%m-%d %H:%M}"
    assert cool_down_until(last, 0) == ""
