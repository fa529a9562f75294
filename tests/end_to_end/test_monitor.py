"""Drift, degradation, failures and missed deadlines on the real stack, with alerts by a real SMTP server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from mlflow.tracking import MlflowClient

from include.evaluation.scores import metric_name
from include.problem import PROBLEM
from include.services import alerts, champions, storage, tracking
from include.services.assets import FEATURES, LABELLED, MONITORING, REQUESTS, RETRAINING
from include.services.assets import MEASURED as MEASURED_LATER
from include.services.champions import MODEL
from include.serving.model_client import PREDICTION_HEADER, smoke_test
from include.spec import PREDICTION_ID
from include.tasks.monitor import find_champion
from include.tasks.predict_incoming import PUBLISHED
from include.tasks.recent import count_new_rows, read_known, read_recent_labelled
from local.stack import Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import (
    TARGET,
    Pipeline,
    champion_is,
    dag_file,
    finest_number,
    new_rows,
    paused,
    task_of,
    wait_for_success,
    without_target,
)
from tests.network import Mailbox, free_port, html_of
from tests.waiting import wait_until

LOGIN, PASSWORD = "airflow", "a-password-of-the-mail-server"
PutRows = Callable[[pd.DataFrame, str], None]
COUNT, MEASURED = 100, 60  # new rows, and those with a target
LATE = """\
from datetime import timedelta
from pathlib import Path
from time import sleep

from airflow.sdk import dag, task

from include.services.dag_defaults import DAG_DEFAULTS, deadline


@dag(schedule=None, **DAG_DEFAULTS | {"deadline": deadline(timedelta(seconds=1))})
def late():
    @task
    def wait_for_file(params, run_id):
        while not Path(params["file"]).exists():
            sleep(0.1)

    wait_for_file()


late()
"""


class WatchedMailbox(Mailbox):
    def wait_for(self, subject: str, timeout: float = 60) -> str:
        """Return the content of the one mail with this subject, and empty the mailbox."""
        found = wait_until(
            lambda: [mail for mail in self.mails if mail["Subject"] == subject],
            timeout,
            lambda: f"no mail {subject!r}, only {[mail['Subject'] for mail in self.mails]}",
        )
        assert len(found) == 1
        self.mails.clear()
        assert found[0]["To"] == "team@example.org"
        return html_of(found[0])


@pytest.fixture(scope="module")
def mailbox(airflow: Airflow) -> Iterator[WatchedMailbox]:
    """An SMTP server with a login, and an Airflow that sends its alerts there."""
    box, port = WatchedMailbox(), free_port()
    server = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        auth_required=True,
        auth_require_tls=False,
        authenticator=lambda *given: AuthResult(
            success=(given[-1].login, given[-1].password) == (LOGIN.encode(), PASSWORD.encode())
        ),
    )
    connection = {
        "connection_id": "smtp_default",
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": port,
        "login": LOGIN,
        "password": PASSWORD,
        "extra": json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"}),
    }
    server.start()
    airflow.send("POST", "connections", connection)
    airflow.send("POST", "variables", {"key": alerts.VARIABLE, "value": json.dumps({"to": "team@example.org"})})
    try:
        yield box
    finally:
        airflow.send("DELETE", f"variables/{alerts.VARIABLE}")
        airflow.send("DELETE", "connections/smtp_default")
        server.stop()


@pytest.fixture(scope="module")
def champion(first: Pipeline) -> Iterator[dict[str, str]]:
    """The champion; if no gate has promoted one, the version of the first run until these tests end."""
    with champion_is(champions.champion() or first.events["train"]["version"]):
        yield find_champion()


@pytest.fixture
def put_rows() -> Iterator[PutRows]:
    """Writes rows to S3 as a CSV file, which is deleted after the test."""
    written = []

    def put(rows: pd.DataFrame, uri: str) -> None:
        written.append(storage.write_table(rows, uri))

    yield put
    for uri in written:
        storage.delete(uri)


def without_small_values(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return rows whose values in a column are redrawn from the upper half of the column: drift to usual values."""
    upper = rows.loc[rows[column] > rows[column].median(), column]
    return rows.assign(**{column: np.random.default_rng(0).choice(upper, len(rows))})


def with_opposite_targets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the largest target where it was small, and the smallest where it was large."""
    target = rows[TARGET]
    return rows.assign(**{TARGET: np.where(target < target.median(), target.max(), target.min())})


def run_monitor(airflow: Airflow) -> tuple[str, dict[str, str]]:
    run_id = airflow.trigger("monitor")
    return run_id, wait_for_success(airflow, "monitor", run_id)


def read_report(airflow: Airflow, run_id: str) -> dict[str, Any]:
    return next(e["extra"] for e in airflow.events("monitor", run_id) if e["name"] == MONITORING.name)


def wait_for_retraining(airflow: Airflow, run_id: str) -> str:
    """Wait until ``feature_eng`` has run, and return the URI of its table."""
    features = airflow.wait_for_consumer("monitor", run_id, "feature_eng")
    wait_for_success(airflow, "feature_eng", features)
    return next(e["extra"]["uri"] for e in airflow.events("feature_eng", features) if e["name"] == FEATURES.name)


@pytest.fixture
def only_features(airflow: Airflow) -> Iterator[None]:
    """A retraining ends after ``feature_eng``, so that other tests find the versions that they made."""
    with paused(airflow, "train"):
        yield


def test_the_champions_own_rows_predicted_again_do_not_count(airflow: Airflow, champion: dict[str, str]) -> None:
    run_id, states = run_monitor(airflow)
    task = task_of(airflow, "monitor", run_id, "select_recent")
    assert ", 0 of them new" in airflow.log("monitor", run_id, task)
    skipped = ("select_recent", "measure_drift", "predict_labelled", "measure_degradation", "publish_report", "decide")
    assert {states[name] for name in skipped} == {"skipped"}
    assert airflow.events("monitor", run_id) == []


def test_new_rows_of_the_same_kind_trigger_nothing(
    airflow: Airflow, champion: dict[str, str], mailbox: WatchedMailbox, put_rows: PutRows
) -> None:
    put_rows(without_target(new_rows(COUNT)), f"{PUBLISHED}/same.csv")
    run_id, states = run_monitor(airflow)
    assert states["no_findings"] == "success"
    assert {states["alert_team"], states["request_retraining"]} == {"skipped"}
    assert [event["name"] for event in airflow.events("monitor", run_id)] == [MONITORING.name]
    assert read_report(airflow, run_id)["findings"] == []
    assert mailbox.mails == []


def test_drift_sends_an_alert_but_requests_no_retraining_without_new_rows_to_learn_from(
    airflow: Airflow, champion: dict[str, str], mailbox: WatchedMailbox, put_rows: PutRows
) -> None:
    column = finest_number()
    put_rows(without_small_values(without_target(new_rows(COUNT)), column), f"{PUBLISHED}/larger.csv")

    run_id, states = run_monitor(airflow)

    assert states["alert_team"] == "success"
    assert states["request_retraining"] == states["no_findings"] == "skipped"
    mail = mailbox.wait_for(f"{MODEL} version {champion['version']} needs attention")
    assert f"{column} has drifted: PSI" in mail
    assert "has learned from all rows that there are" in mail
    report = read_report(airflow, run_id)
    assert len(report["findings"]) == 1
    assert report["url"] in mail
    assert storage.read_bytes(report["picture"]).startswith(b"\x89PNG")
    with tracking.connected():
        run = MlflowClient().get_run(report["run_id"])
        version = MlflowClient().get_model_version(MODEL, champion["version"])
    assert run.info.run_name == "Monitoring"
    assert run.data.tags["model_version"] == champion["version"]
    assert version.tags["monitoring_run_id"] == run.info.run_id
    p_values = {name: value for name, value in run.data.metrics.items() if name.startswith("p_")}
    assert [name for name, value in p_values.items() if value < 0.02] == [f"p_{metric_name(column)}"]


def test_new_targets_are_compared_at_once_and_learned_from_once(
    airflow: Airflow,
    champion: dict[str, str],
    mailbox: WatchedMailbox,
    only_features: None,
    put_rows: PutRows,
) -> None:
    """Their ids are those of other rows, as field files number theirs from 1."""
    known, measured = storage.read_table(champion["features_uri"]), new_rows(MEASURED)
    if PROBLEM.row_id:
        measured[PROBLEM.row_id] = known[PROBLEM.row_id].head(MEASURED).tolist()
    before, subject = airflow.run_ids("monitor"), f"{MODEL} version {champion['version']} needs attention"
    put_rows(with_opposite_targets(measured), f"{LABELLED.uri.rstrip('/')}/measured.csv")
    (run_id,) = airflow.wait_for_new_runs("monitor", before, timeout=30)

    states = wait_for_success(airflow, "monitor", run_id)

    assert states["measure_drift"] == "skipped"
    done = ("predict_labelled", "measure_degradation", "alert_team", "request_retraining")
    assert {states[name] for name in done} == {"success"}
    predict = task_of(airflow, "monitor", run_id, "predict_labelled")
    assert f"Predicting with models:/{MODEL}/{champion['version']}" in airflow.log("monitor", run_id, predict)
    mail = mailbox.wait_for(subject)
    assert "the prediction error has grown: RMSE" in mail
    assert "would be found with a probability of 80%" in mail
    assert "requested now" in mail
    selected = task_of(airflow, "monitor", run_id, "select_labelled")
    assert f"{MEASURED} rows, {MEASURED} of them new" in airflow.log("monitor", run_id, selected)
    features_uri = wait_for_retraining(airflow, run_id)
    assert len(storage.read_table(features_uri)) == len(known) + MEASURED
    newest = {"version": "", "tags": [{"key": champions.FEATURES_URI, "value": features_uri}]}
    assert count_new_rows(newest) == 0
    assert read_recent_labelled(read_known(features_uri), days=1).empty

    again, states = run_monitor(airflow)

    assert (states["alert_team"], states["request_retraining"]) == ("success", "skipped")
    assert "requested before, not again before" in mailbox.wait_for(subject)
    assert RETRAINING.name not in [event["name"] for event in airflow.events("monitor", again)]


@pytest.fixture
def served(stack: Stack, champion: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ids of new rows that a model server with a log has answered; it has stopped."""
    monkeypatch.setenv("SERVE_LOG", "1")
    stack.start(["serve"])
    url, rows = stack.settings.url("serve"), new_rows(COUNT)[PROBLEM.inputs]
    ids = []
    try:
        smoke_test(url, rows.head(1), version=champion["version"])
        for start in range(0, COUNT, 10):
            body = {"dataframe_split": json.loads(rows[start : start + 10].to_json(orient="split", index=False))}
            response = httpx.post(f"{url}/invocations", json=body).raise_for_status()
            ids += [f"{response.headers[PREDICTION_HEADER]}-{row + 1}" for row in range(10)]
    finally:
        stack.stop_program("model-server")
    yield ids
    for folder in (REQUESTS, MEASURED_LATER):
        storage.delete_folder(folder)


def test_served_rows_are_compared_and_their_targets_join_by_prediction_id(
    airflow: Airflow,
    champion: dict[str, str],
    mailbox: WatchedMailbox,
    served: list[str],
    put_rows: PutRows,
) -> None:
    targets = with_opposite_targets(new_rows(COUNT))[TARGET]
    measured = pd.DataFrame({PREDICTION_ID: served, TARGET: targets}).head(MEASURED)
    with paused(airflow, "feature_eng"):
        before = airflow.run_ids("monitor")
        put_rows(measured, f"{LABELLED.uri.rstrip('/')}/served.csv")
        (run_id,) = airflow.wait_for_new_runs("monitor", before, timeout=30)
        states = wait_for_success(airflow, "monitor", run_id)

    assert {states[name] for name in ("measure_drift", "measure_degradation", "alert_team")} == {"success"}
    recent, labelled = (
        airflow.log("monitor", run_id, task_of(airflow, "monitor", run_id, name))
        for name in ("select_recent", "select_labelled")
    )
    assert f", {COUNT + 1} of them new" in recent  # with the row of the smoke test
    assert f"{MEASURED} rows, {MEASURED} of them new" in labelled
    mail = mailbox.wait_for(f"{MODEL} version {champion['version']} needs attention")
    assert "the prediction error has grown: RMSE" in mail


def test_an_alert_of_a_failed_task_has_its_error_and_a_link_to_its_log(
    airflow: Airflow, first: Pipeline, mailbox: WatchedMailbox, table_file: Path
) -> None:
    table_file.unlink()
    run_id = airflow.trigger("feature_eng")
    assert airflow.wait("feature_eng", run_id) == "failed"
    mail = mailbox.wait_for("feature_eng.extract_data failed")
    for fact in ("feature_eng", "extract_data", run_id, "is missing: put the table there"):
        assert fact in mail
    link = mail.split('href="')[1].split('"')[0]
    assert "/dags/feature_eng/runs/manual__" in link
    assert "/tasks/extract_data?try_number=1" in link
    assert httpx.get(link).is_success
    assert PASSWORD not in mail


def test_an_alert_of_a_missed_deadline_is_sent_while_the_run_goes_on(
    stack: Stack, airflow: Airflow, mailbox: WatchedMailbox, tmp_path: Path
) -> None:
    with dag_file(stack, airflow, LATE, "late"):
        run_id = airflow.trigger("late", {"file": str(tmp_path / "go_on")})
        try:
            mail = mailbox.wait_for("late missed its deadline")
            assert airflow.run("late", run_id)["state"] == "running"
            assert run_id in mail
        finally:
            (tmp_path / "go_on").touch()
        assert airflow.wait("late", run_id) == "success"
