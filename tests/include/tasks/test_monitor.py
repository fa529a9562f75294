"""Recent rows and errors of the champion, in the real S3 and MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.data.split import select_holdout, select_training
from include.monitoring.drift import measure_drift
from include.services import champions, storage
from include.services.assets import LABELLED, PREDICTIONS
from include.spec import SPLIT, Category
from include.tasks import monitor

from ...toy import AREA, DISTRICT, HOUSES, make_rows
from ..conftest import Registered, make_table

PREDICTED, LABELS = PREDICTIONS.uri.rstrip("/"), LABELLED.uri.rstrip("/")
RUN = "manual__unit-monitor"
PARAMS = {"days": 1, "min_samples": 50, "alpha": 0.02, "min_psi": 0.25}


@pytest.fixture(autouse=True)
def _toy_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "PROBLEM", HOUSES)


@pytest.fixture
def _no_objects(buckets: None) -> Iterator[None]:
    """Delete what these tests write, before and after each."""
    folders = [f"{PREDICTED}/unit-{number}" for number in (1, 2)]
    folders += [f"{PREDICTED}/incoming/unit", f"{LABELS}/unit"]

    def empty() -> None:
        for folder in folders:
            storage.delete_folder(folder)

    empty()
    yield
    empty()


def new_rows(area: float) -> pd.DataFrame:
    """Three rows that the toy table does not have."""
    return make_rows(3).assign(**{AREA: [area, area + 0.1, area + 0.2]})


def write_predicted(rows: pd.DataFrame, run: str) -> None:
    """Write rows as ``predict`` does: their inputs, indexed by the id."""
    storage.write_table(rows.set_index("address")[HOUSES.inputs], f"{PREDICTED}/{run}/rows.parquet", index=True)


def areas(rows: pd.DataFrame) -> list[float]:
    """The areas below 30 m², which only these tests write."""
    return sorted(area for area in rows[AREA] if area < 30)


def test_without_a_champion_the_task_is_skipped(registered: Registered) -> None:
    with pytest.raises(AirflowSkipException, match="has no champion yet: nothing to monitor"):
        monitor.find_champion()


def test_a_champion_whose_table_is_not_known_is_skipped(registered: Registered) -> None:
    registered.promote("1")

    with pytest.raises(AirflowSkipException, match="version 1 lacks the tag features_uri"):
        monitor.find_champion()


def test_the_champion_is_found_with_its_run_and_its_table(registered: Registered) -> None:
    registered.hook.set_model_version_tag(registered.name, "1", "features_uri", "s3://data/f.parquet")
    registered.promote("1")

    assert monitor.find_champion() == {
        "version": "1",
        "run_id": registered.run_id,
        "features_uri": "s3://data/f.parquet",
    }


@pytest.mark.usefixtures("_no_objects")
def test_recent_inputs_are_those_of_predict_and_of_incoming_files_without_known_rows(houses: pd.DataFrame) -> None:
    inputs = houses.set_index("address")[HOUSES.inputs]
    with_new = pd.concat([inputs, new_rows(20).set_index("address")[HOUSES.inputs]])
    storage.write_table(with_new, f"{PREDICTED}/unit-1/rows.parquet", index=True)
    write_predicted(new_rows(20), "unit-2")
    storage.write_table(new_rows(25).assign(predicted=300.0), f"{PREDICTED}/incoming/unit/new.csv")
    storage.write_table(new_rows(28), f"{PREDICTED}/unit-1/{HOUSES.predictions_file}")

    recent = monitor.read_recent_inputs(houses, days=1)

    assert areas(recent) == [20, 20.1, 20.2, 25, 25.1, 25.2]
    assert recent.columns.tolist() == ["address", *HOUSES.inputs]


@pytest.mark.usefixtures("_no_objects")
def test_categories_that_look_like_numbers_are_read_as_they_were_predicted(
    houses: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    district, _, *numbers = HOUSES.features
    monkeypatch.setattr(
        monitor, "PROBLEM", replace(HOUSES, features=(district, Category("index", nullable=True), *numbers))
    )
    predicted = new_rows(20).assign(index=["007", "1.50", None], predicted=300.0)
    storage.write_table(predicted, f"{PREDICTED}/incoming/unit/new.csv")

    recent = monitor.read_recent_inputs(houses, days=1)

    assert recent.loc[recent[AREA] < 30, "index"].tolist() == ["007", "1.50", pytest.approx(np.nan, nan_ok=True)]


@pytest.mark.usefixtures("_no_objects")
@pytest.mark.parametrize("row_id", ["address", None])
def test_recent_rows_of_a_few_settings_are_not_drift(monkeypatch: pytest.MonkeyPatch, row_id: str | None) -> None:
    coarse = replace(HOUSES, row_id=row_id)
    monkeypatch.setattr(monitor, "PROBLEM", coarse)

    def sample(seed: int, count: int) -> pd.DataFrame:
        rows = make_rows(count, seed).assign(address=[f"{seed}-{row}" for row in range(count)])
        return rows.assign(**{AREA: rows[AREA].round(-2) + 50})

    known = make_table(sample(1, 600), coarse)
    recent = sample(2, 200)
    storage.write_table(recent.assign(predicted=300.0), f"{PREDICTED}/incoming/unit/new.csv")

    found = monitor.read_recent_inputs(known, days=1)

    assert len(found) == 200
    training = select_training(known, coarse)
    assert not measure_drift(training, found, coarse, alpha=0.02, min_psi=0.25)["drifted"].any()


@pytest.mark.usefixtures("_no_objects")
def test_rows_of_another_problem_are_left_out_and_logged(
    houses: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    storage.write_table(pd.DataFrame({"sepal length": [5.1]}), f"{PREDICTED}/unit-1/rows.parquet")
    write_predicted(new_rows(20), "unit-2")

    assert areas(monitor.read_recent_inputs(houses, days=1)) == [20, 20.1, 20.2]
    assert f"column {DISTRICT} is missing; other columns of the table: sepal length" in caplog.text


@pytest.mark.usefixtures("_no_objects")
def test_older_objects_are_not_recent(houses: pd.DataFrame) -> None:
    storage.write_table(new_rows(20), f"{PREDICTED}/incoming/unit/new.csv")
    storage.write_table(new_rows(20), f"{LABELS}/unit/new.csv")

    assert monitor.read_recent_inputs(houses, days=0).empty
    assert monitor.read_recent_labelled(houses, days=0).empty


@pytest.mark.usefixtures("_no_objects")
def test_labelled_rows_are_read_as_for_training(houses: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    new_rows(25).to_parquet(content := BytesIO(), index=False)
    storage.write_bytes(content.getvalue(), f"{LABELS}/unit/new.parquet")
    storage.write_table(new_rows(20).assign(price=[360.0, np.nan, 99_999]), f"{LABELS}/unit/new.csv")
    storage.write_table(new_rows(28).drop(columns="lambda"), f"{LABELS}/unit/old.csv")

    labelled = monitor.read_recent_labelled(houses, days=1)

    assert areas(labelled) == [20, 25, 25.1, 25.2]
    assert {*HOUSES.inputs, "price"} <= set(labelled)
    assert f"Left out: {LABELS}/unit/old.csv cannot be used:\ncolumn lambda is missing" in caplog.text
    assert "price: 99999 is impossible" in caplog.text


@pytest.mark.usefixtures("_no_objects")
def test_drift_is_measured_from_enough_rows_only(houses: pd.DataFrame) -> None:
    champion = {"features_uri": storage.write_table(houses, "s3://data/unit-monitor/features.parquet")}
    larger = make_rows(60, seed=1).assign(**{AREA: lambda rows: rows[AREA] + 100})
    write_predicted(larger, "unit-1")
    recent = len(monitor.read_recent_inputs(houses, days=1))

    found = monitor.measure_drift(champion, PARAMS, RUN)

    assert len(storage.read_table(found["recent"])) == recent >= 60
    drift = storage.read_table(found["drift"])
    assert drift.index.tolist() == HOUSES.inputs
    assert drift.loc[AREA, "drifted"]
    with pytest.raises(AirflowSkipException, match=f"{recent} new rows are too few to compare, {recent + 1} is the"):
        monitor.measure_drift(champion, {**PARAMS, "min_samples": recent + 1}, RUN)


@pytest.mark.parametrize("measure", [monitor.measure_drift, monitor.measure_degradation])
def test_a_champion_of_another_table_is_not_compared(
    houses: pd.DataFrame, buckets: None, measure: Callable[..., Any]
) -> None:
    uri = storage.write_table(houses.drop(columns=[AREA, SPLIT]), "s3://data/unit-monitor/other.parquet")

    with pytest.raises(AirflowSkipException, match=r"other\.parquet lacks _split, living area"):
        measure({"version": "1", "features_uri": uri}, PARAMS, RUN)
    with pytest.raises(AirflowSkipException, match=r"gone\.parquet is gone"):
        measure({"version": "1", "features_uri": "s3://data/unit-monitor/gone.parquet"}, PARAMS, RUN)


@pytest.mark.parametrize("as_frame", [True, False])
def test_errors_are_predicted_minus_true_of_holdout_and_recent_rows(houses: pd.DataFrame, as_frame: bool) -> None:
    def predict(rows: pd.DataFrame) -> Any:
        assert rows.columns.tolist() == HOUSES.inputs
        prices = np.full(len(rows), 400.0)
        return pd.DataFrame({"prediction": prices, "lower": 0.0}, index=rows.index) if as_frame else prices

    labelled = houses.head(2).assign(price=[390.0, 420.0])

    errors = monitor.predict_errors(SimpleNamespace(predict=predict), houses, labelled)

    holdout = select_holdout(houses, HOUSES)
    assert errors.groupby("sample").size().to_dict() == {"holdout": len(holdout), "recent": 2}
    assert errors.loc[errors["sample"] == "recent", "error"].tolist() == [10, -20]
    np.testing.assert_allclose(errors.loc[errors["sample"] == "holdout", "error"], 400 - holdout["price"])


@pytest.fixture
def champion(houses: pd.DataFrame, registered: Registered) -> dict[str, str]:
    uri = storage.write_table(houses, "s3://data/unit-monitor/features.parquet")
    return {"version": "1", "run_id": registered.run_id, "features_uri": uri}


@pytest.mark.usefixtures("_no_objects")
def test_the_report_has_the_findings_and_links_version_and_run(
    champion: dict[str, str], registered: Registered
) -> None:
    larger = make_rows(60, seed=1).assign(**{AREA: lambda rows: rows[AREA] + 100})
    write_predicted(larger, "unit-1")
    params = PARAMS | {"cool_down_days": 7}
    events = {monitor.MONITORING: SimpleNamespace(extra={})}

    drifted = monitor.measure_drift(champion, params, RUN)
    report = monitor.publish_report(champion, drifted, None, params, RUN, {monitor.RETRAINING: []}, events)

    assert report == events[monitor.MONITORING].extra
    assert any(finding.startswith(f"{AREA} has drifted: PSI ") for finding in report["findings"])
    assert (report["version"], report["cool_down_until"]) == ("1", "")
    assert storage.read_bytes(report["picture"]).startswith(b"\x89PNG")
    version = registered.hook.get_model_version(registered.name, "1")
    assert champions.read_tags(version)["monitoring_run_id"] == report["run_id"]
    run = registered.hook.get_run(report["run_id"])
    assert champions.read_tags(run["data"])["model_version"] == "1"
    assert champions.read_params(run)["min_psi"] == "0.25"


def test_without_any_measurement_there_is_no_report() -> None:
    with pytest.raises(AirflowSkipException, match="nothing to report"):
        monitor.publish_report({}, None, None, {}, RUN, {}, {})


def test_a_request_of_retraining_has_version_and_findings() -> None:
    events = {monitor.RETRAINING: SimpleNamespace(extra={})}

    monitor.request_retraining({"version": "3", "findings": ["age has drifted"], "url": ""}, events)

    assert events[monitor.RETRAINING].extra == {"version": "3", "findings": ["age has drifted"]}


@pytest.mark.parametrize(
    ("until", "retraining"),
    [("", "requested now"), ("2026-12-01 06:00", "requested before, not again before 2026-12-01 06:00 UTC")],
)
def test_the_alert_names_findings_and_what_follows(
    monkeypatch: pytest.MonkeyPatch, until: str, retraining: str
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(monitor.alerts, "send", sent.append)
    report = {"version": "3", "findings": ["a", "b"], "cool_down_until": until, "url": "http://mlflow/run"}

    monitor.alert_team(report, "manual__1")

    (alert,) = sent
    assert "version 3 needs attention" in alert.subject
    assert alert.facts["findings"] == "a; b"
    assert alert.facts["retraining"] == retraining
    assert alert.facts["MLflow"] == "http://mlflow/run"
    assert alert.url.endswith("/dags/monitor/runs/manual__1")
