"""The tasks of monitor, with the real S3 and MLflow."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.services import champions, storage, tracking
from include.services.alerts import Alert
from include.services.assets import LABELLED, PREDICTIONS
from include.tasks import feature_eng, monitor, recent

from ...toy import AREA, HOUSES, make_rows
from ..conftest import Registered

PREDICTED, LABELS = PREDICTIONS.uri.rstrip("/"), LABELLED.uri.rstrip("/")
RUN = "manual__unit-monitor"
PARAMS = {
    "days": 1,
    "min_samples": 50,
    "alpha": 0.02,
    "min_psi": 0.25,
    "degradation_margin": 0.1,
    "degradation_confidence": 0.95,
    "cool_down_days": 7,
}


@pytest.fixture(autouse=True)
def _toy_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "PROBLEM", HOUSES)
    monkeypatch.setattr(recent, "PROBLEM", HOUSES)
    monkeypatch.setattr(feature_eng, "PROBLEM", HOUSES)


@pytest.fixture(autouse=True)
def _no_objects(buckets: None) -> Iterator[None]:
    """Delete what these tests write, before and after each."""

    def empty() -> None:
        for folder in (f"{PREDICTED}/unit-1", f"{LABELS}/unit"):
            storage.delete_folder(folder)

    empty()
    yield
    empty()


@pytest.fixture
def champion(houses: pd.DataFrame, registered: Registered) -> dict[str, str]:
    uri = storage.write_table(houses, "s3://data/unit-monitor/features.parquet")
    registered.tag("1", champions.FEATURES_URI, uri)
    return {"version": "1", "run_id": registered.run_id, "features_uri": uri}


def test_without_a_champion_the_task_is_skipped(registered: Registered) -> None:
    with pytest.raises(AirflowSkipException, match="has no champion yet: nothing to monitor"):
        monitor.find_champion()


def test_a_champion_whose_table_is_not_known_is_skipped(registered: Registered) -> None:
    registered.promote("1")

    with pytest.raises(AirflowSkipException, match="version 1 lacks the tag features_uri"):
        monitor.find_champion()


def test_the_champion_is_found_with_its_run_and_its_table(registered: Registered) -> None:
    registered.tag("1", "features_uri", "s3://data/f.parquet")
    registered.promote("1")

    assert monitor.find_champion() == {
        "version": "1",
        "run_id": registered.run_id,
        "features_uri": "s3://data/f.parquet",
        "model_uri": f"models:/{registered.name}/1",
    }


def larger_rows() -> pd.DataFrame:
    """Rows that the champion does not know, whose area has drifted."""
    return make_rows(60, seed=1).assign(**{AREA: lambda rows: rows[AREA] + 100})


def write_predicted(rows: pd.DataFrame) -> None:
    """Write rows as ``predict`` does: their inputs, indexed by the id."""
    storage.write_table(rows.set_index("address")[HOUSES.inputs], f"{PREDICTED}/unit-1/rows.parquet", index=True)


def test_drift_is_measured_from_enough_rows_only(champion: dict[str, str]) -> None:
    write_predicted(larger_rows())

    uri, drift_uri, _ = measure(champion)
    drift = storage.read_table(drift_uri)

    rows = len(storage.read_table(uri))
    assert rows >= 60
    assert drift.index.tolist() == HOUSES.inputs
    assert drift.loc[AREA, "drifted"]
    with pytest.raises(AirflowSkipException, match=f"{rows} new rows are too few to compare, {rows + 1} is the"):
        monitor.measure_drift(champion, uri, {**PARAMS, "min_samples": rows + 1}, RUN)


def measure(champion: dict[str, str]) -> tuple[str, str, None]:
    """Measure drift; return the URIs of recent rows and drift, and no degradation."""
    recent_uri = monitor.select_recent(champion, PARAMS, RUN)
    return recent_uri, monitor.measure_drift(champion, recent_uri, PARAMS, RUN), None


@pytest.fixture
def errors_known(registered: Registered) -> Iterator[None]:
    """The champion's run has out-of-fold errors, as ``train`` logs them."""
    file = tracking.OUT_OF_FOLD_ERRORS
    with pytest.MonkeyPatch.context() as patch:
        content = pd.DataFrame({"error": np.abs(np.random.default_rng(0).normal(0, 20, 80))}).to_csv(index=False)
        patch.setattr(tracking, "read_artifact", lambda run_id, name: content.encode() if name == file else None)
        yield


def test_labelled_rows_are_written_for_the_champion_to_predict(champion: dict[str, str], errors_known: None) -> None:
    storage.write_table(larger_rows(), f"{LABELS}/unit/new.csv")

    selected = monitor.select_labelled(champion, PARAMS, RUN)

    rows, target = storage.read_table(selected["rows"]), storage.read_table(selected["target"])
    assert rows.columns.tolist() == HOUSES.inputs
    assert target["price"].tolist() == larger_rows()["price"].tolist()
    assert len(rows) == len(target) == 60
    assert len(storage.read_table(selected["baseline"])) == 80
    with pytest.raises(AirflowSkipException, match="60 new rows are too few"):
        monitor.select_labelled(champion, {**PARAMS, "min_samples": 61}, RUN)


def test_a_champion_without_out_of_fold_errors_is_not_compared(champion: dict[str, str]) -> None:
    storage.write_table(larger_rows(), f"{LABELS}/unit/new.csv")

    with pytest.raises(AirflowSkipException, match=r"the run of version 1 lacks out_of_fold_errors\.csv, which train"):
        monitor.select_labelled(champion, PARAMS, RUN)


def test_recent_errors_are_compared_with_those_on_training_rows(champion: dict[str, str], errors_known: None) -> None:
    rows = larger_rows()
    storage.write_table(rows, f"{LABELS}/unit/new.csv")
    selected = monitor.select_labelled(champion, PARAMS, RUN)
    offsets = np.where(rows.index % 2, 30.0, -30.0)
    predicted = pd.DataFrame({"prediction": rows["price"] + offsets, "lower": 0.0})
    uri = storage.write_table(predicted, "s3://data/unit-monitor/predicted.parquet")

    measured = monitor.measure_degradation(selected, uri, PARAMS, RUN)

    errors = storage.read_table(measured["errors"])
    assert errors.groupby("sample").size().to_dict() == {"baseline": 80, "recent": 60}
    assert errors.loc[errors["sample"] == "recent", "error"].tolist() == pytest.approx([30] * 60)
    assert measured["degradation"]["rmse_recent"] == pytest.approx(30)
    assert measured["degradation"]["degraded"] == 1


def publish(champion: dict[str, str], *measured: Any, requests: Any = ()) -> dict[str, Any]:
    events = {monitor.MONITORING: SimpleNamespace(extra={})}
    report = monitor.publish_report(champion, *measured, PARAMS, RUN, {monitor.RETRAINING: list(requests)}, events)
    assert report == events[monitor.MONITORING].extra
    return report


def test_the_report_has_findings_and_notes_and_links_version_and_run(
    champion: dict[str, str], registered: Registered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(monitor, "count_new_rows", lambda version: 45)
    write_predicted(larger_rows().assign(**{"lambda": 40}))

    with caplog.at_level("INFO"):
        report = publish(champion, *measure(champion))

    assert any(finding.startswith(f"{AREA} has drifted: PSI ") for finding in report["findings"])
    assert any(", lambda 60" in note or ": lambda 60" in note for note in report["notes"])
    assert set(report["findings"] + report["notes"]) <= set(caplog.messages)
    assert (report["version"], report["no_retraining"]) == ("1", "")
    assert storage.read_bytes(report["picture"]).startswith(b"\x89PNG")
    assert registered.tags("1")["monitoring_run_id"] == report["run_id"]
    run = registered.hook.get_run(report["run_id"])
    assert champions.read_tags(run["data"])["model_version"] == "1"
    assert champions.read_params(run)["min_psi"] == "0.25"
    logged = tracking.read_artifact(report["run_id"], "report.md")
    assert logged is not None
    assert f"- {report['findings'][0]}" in logged.decode().splitlines()


@pytest.mark.parametrize(
    ("new_rows", "age", "reason"),
    [
        (0, 8, "not requested: version 2 has learned from all rows that there are"),
        (45, 1, "requested before, not again before {until:%Y-%m-%d %H:%M} UTC"),
        (45, 8, ""),
    ],
)
def test_no_retraining_is_requested_without_new_rows_for_the_newest_version_or_in_the_cool_down(
    champion: dict[str, str],
    registered: Registered,
    monkeypatch: pytest.MonkeyPatch,
    new_rows: int,
    age: int,
    reason: str,
) -> None:
    registered.tag("2", champions.FEATURES_URI, champion["features_uri"])
    monkeypatch.setattr(monitor, "count_new_rows", lambda version: new_rows if version["version"] == "2" else 99)
    write_predicted(larger_rows())
    last = SimpleNamespace(timestamp=datetime.now(UTC) - timedelta(days=age))

    report = publish(champion, *measure(champion), requests=[last])

    assert report["no_retraining"].startswith(reason.format(until=last.timestamp + timedelta(days=7)))
    assert bool(report["no_retraining"]) == bool(reason)


def test_a_table_that_cannot_be_used_is_the_reason_for_no_retraining(
    champion: dict[str, str], registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(version: Any) -> int:
        raise FileNotFoundError("houses.csv is missing")

    monkeypatch.setattr(monitor, "count_new_rows", fail)
    write_predicted(larger_rows())

    report = publish(champion, *measure(champion))

    assert report["no_retraining"] == "not requested: houses.csv is missing"


def test_a_few_odd_rows_are_reported_although_nothing_was_measured(champion: dict[str, str]) -> None:
    write_predicted(make_rows(3, seed=1).assign(**{AREA: 900.0}))

    report = publish(champion, monitor.select_recent(champion, PARAMS, RUN), None, None)

    assert report["findings"] == []
    assert f"{AREA} 3" in report["notes"][0]


@pytest.mark.parametrize("change", [{}, {"features_uri": "s3://data/unit-monitor/gone.parquet"}])
def test_without_recent_rows_or_the_champions_table_there_is_no_report(
    champion: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    monkeypatch.setattr(monitor, "count_rejected", lambda days: 1)

    with pytest.raises(AirflowSkipException, match="nothing to report"):
        monitor.publish_report(champion | change, None, None, None, PARAMS, RUN, {}, {})


def test_a_request_of_retraining_has_version_and_findings() -> None:
    events = {monitor.RETRAINING: SimpleNamespace(extra={})}

    monitor.request_retraining({"version": "3", "findings": ["age has drifted"], "url": ""}, events)

    assert events[monitor.RETRAINING].extra == {"version": "3", "findings": ["age has drifted"]}


@pytest.mark.parametrize("reason", ["", "requested before, not again before 2026-12-01 06:00 UTC", "not requested: x"])
def test_the_alert_names_findings_notes_and_what_follows(sent: list[Alert], reason: str) -> None:
    report = {
        "version": "3",
        "findings": ["a", "b"],
        "notes": ["c"],
        "no_retraining": reason,
        "url": "http://mlflow/run",
    }

    monitor.alert_team(report, "manual__1")

    (alert,) = sent
    assert "version 3 needs attention" in alert.subject
    assert alert.facts["findings"] == "a; b"
    assert alert.facts["notes"] == "c"
    assert alert.facts["retraining"] == (reason or "requested now")
    assert alert.facts["MLflow"] == "http://mlflow/run"
    assert alert.url.endswith("/dags/monitor/runs/manual__1")
