from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from include import config
from include.monitoring.drift import measure_decay, measure_drift
from include.tasks.look import Look, cool_down_until, describe


@pytest.fixture
def look(possums: pd.DataFrame) -> Look:
    recent = possums.assign(hdlngth=possums["hdlngth"] + 4)
    drift = measure_drift(possums, recent, alpha=0.02, least_psi=0.25)
    errors = pd.DataFrame({"error": [1.0, -1.0, 1.1] * 20, "animals": "holdout"})
    decay = measure_decay(errors["error"], 2 * errors["error"], confidence=0.99, margin=0.1)
    return Look(possums, recent, drift, pd.concat([errors, errors.assign(animals="recent")]), decay)


def test_findings_are_sentences_with_their_numbers(look: Look) -> None:
    drift, decay = look.findings()

    assert drift.startswith("hdlngth has drifted: PSI ")
    assert decay.startswith("the error has grown: RMSE 2.07 cm, 2.00 times the holdout error (")


def test_every_number_becomes_a_metric(look: Look) -> None:
    metrics = look.metrics()

    assert {f"{name}_{column}" for name in ("psi", "p", "statistic", "psi_by_chance") for column in config.RAW} < set(
        metrics
    )
    assert (metrics["recent_animals"], metrics["findings"], metrics["decayed"]) == (104, 2, 1)
    assert all(np.isfinite(value) for value in metrics.values())


def test_what_was_not_measured_is_no_finding(possums: pd.DataFrame) -> None:
    nothing = pd.DataFrame()

    assert Look(possums, nothing, nothing, nothing, {}).findings() == []


def test_the_last_retraining_starts_the_cool_down() -> None:
    now = datetime.now(UTC)
    events = [SimpleNamespace(timestamp=now - timedelta(days=age)) for age in (30, 2)]

    assert cool_down_until([], 7) == ""
    assert cool_down_until(events, 1) == ""
    assert cool_down_until(events, 7) == f"{now + timedelta(days=5):%Y-%m-%d %H:%M}"
    assert cool_down_until(events, 0) == ""


@pytest.mark.parametrize(
    ("until", "said"), [("", "asked for now"), ("2026-12-01 06:00", "not again before 2026-12-01")]
)
def test_the_alert_tells_the_findings_and_what_was_done(until: str, said: str) -> None:
    report = {"version": "3", "findings": ["eye has drifted"], "url": "http://mlflow/run", "cool_down_until": until}

    alert = describe(report, "manual__1")

    assert alert.subject == "Reg_RidgeCV_possums version 3 no longer fits"
    assert "eye has drifted" in alert.text
    assert said in alert.text
    assert "http://mlflow/run" in alert.text
