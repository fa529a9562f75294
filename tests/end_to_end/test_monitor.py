"""Drift, decay, failures and missed deadlines on the real stack, told by mail through a real SMTP server."""

from __future__ import annotations

import email
import json
import socket
import time
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from mlflow.tracking import MlflowClient

from include import config
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import alerts, champions, storage, tracking
from include.platform.assets import LABELLED
from include.tasks.monitor import find_champion
from include.tasks.recent import INCOMING
from local.airflow import POLL, Airflow
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, paused

LOGIN, PASSWORD = "possums", "a-password-of-the-mail-server"
LATE = """\
from datetime import timedelta
from pathlib import Path
from time import sleep

from airflow.sdk import dag, task

from include import config
from include.platform.alerts import Deadline


@dag(schedule=None, **config.DAG_DEFAULTS | {"deadline": Deadline(timedelta(seconds=1))})
def late():
    @task
    def wait_for_file(params, run_id):
        while not Path(params["file"]).exists():
            sleep(0.1)

    wait_for_file()


late()
"""


class Mailbox:
    """Every mail that the server accepted."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"

    def wait_for(self, subject: str, timeout: float = 60) -> str:
        """Return the content of the one mail with this subject, and forget it."""
        deadline = time.monotonic() + timeout
        while not (found := [mail for mail in self.mails if mail["Subject"] == subject]):
            assert time.monotonic() < deadline, f"no mail {subject!r}, only {[mail['Subject'] for mail in self.mails]}"
            time.sleep(POLL)
        assert len(found) == 1
        self.mails.clear()
        assert found[0]["To"] == "team@example.org"
        (part,) = [part for part in found[0].walk() if part.get_content_type() == "text/html"]
        return part.get_payload(decode=True).decode()


@pytest.fixture(scope="module")
def mailbox(airflow: Airflow) -> Iterator[Mailbox]:
    """An SMTP server with a login, and an Airflow that sends its alerts there."""
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    """The champion; where no gate has made one, the version of the first run for as long as these tests take."""
    hook = MLflowClientHook("GET", config.MLFLOW_CONN_ID)
    there_was_one = champions.champion(hook)
    if not there_was_one:
        hook.set_registered_model_alias(config.REGISTERED_MODEL, config.CHAMPION_ALIAS, first.said["train"]["version"])
    yield find_champion()
    if not there_was_one:
        hook.delete_registered_model_alias(config.REGISTERED_MODEL, config.CHAMPION_ALIAS)


@pytest.fixture
def put_animals() -> Iterator[Callable[..., None]]:
    """Writes a CSV file of new animals, made from the known ones, to S3; deleted after the test."""
    written = []

    def put(uri: str, count: int = 100, **shifts: float) -> None:
        possums, rng = pd.read_csv(config.POSSUM_CSV), np.random.default_rng(7)
        animals = possums.iloc[rng.integers(len(possums), size=count)].reset_index(drop=True)
        animals["case"] = range(1000, 1000 + count)
        animals["hdlngth"] += rng.uniform(-0.04, 0.04, count)  # below the ruler's marks, but another animal
        written.append(storage.write_table(animals.assign(**{n: animals[n] + by for n, by in shifts.items()}), uri))

    yield put
    hook = S3Hook(config.AWS_CONN_ID)
    for uri in written:
        bucket, key = hook.parse_s3_url(uri)
        hook.delete_objects(bucket, key)


def run_monitor(airflow: Airflow) -> tuple[str, dict[str, str]]:
    run_id = airflow.trigger("monitor")
    return run_id, states_of(airflow, run_id)


def states_of(airflow: Airflow, run_id: str) -> dict[str, str]:
    assert airflow.wait("monitor", run_id) == "success"
    return {task["task_id"]: task["state"] for task in airflow.tasks("monitor", run_id)}


def report_of(airflow: Airflow, run_id: str) -> dict[str, Any]:
    return next(e["extra"] for e in airflow.events("monitor", run_id) if e["name"] == "possum_monitoring")


def wait_for_retraining(airflow: Airflow, run_id: str) -> None:
    assert airflow.wait("feature_eng", airflow.wait_for_consumer("monitor", run_id, "feature_eng")) == "success"


@pytest.fixture
def only_features(airflow: Airflow) -> Iterator[None]:
    """Retraining goes no further than ``feature_eng``, so that other tests find the versions that they made."""
    with paused(airflow, "train"):
        yield


def test_the_models_own_animals_predicted_again_are_no_news(airflow: Airflow, champion: dict[str, str]) -> None:
    run_id, states = run_monitor(airflow)
    task = next(task for task in airflow.tasks("monitor", run_id) if task["task_id"] == "measure_drift")
    assert "0 animals in them are new" in airflow.log("monitor", run_id, task)
    assert {states[name] for name in ("measure_drift", "measure_decay", "publish_report", "judge")} == {"skipped"}
    assert airflow.events("monitor", run_id) == []


def test_new_animals_of_the_same_kind_set_nothing_off(
    airflow: Airflow, champion: dict[str, str], mailbox: Mailbox, put_animals: Callable[..., None]
) -> None:
    put_animals(f"{INCOMING}same.csv")
    run_id, states = run_monitor(airflow)
    assert states["all_is_well"] == "success"
    assert {states["tell_the_team"], states["ask_for_retraining"]} == {"skipped"}
    assert [event["name"] for event in airflow.events("monitor", run_id)] == ["possum_monitoring"]
    assert report_of(airflow, run_id)["findings"] == []
    assert mailbox.mails == []


def test_drift_is_told_and_starts_one_retraining_until_the_cool_down_is_over(
    airflow: Airflow,
    champion: dict[str, str],
    mailbox: Mailbox,
    only_features: None,
    put_animals: Callable[..., None],
) -> None:
    put_animals(f"{INCOMING}larger.csv", hdlngth=3.57)  # one standard deviation
    subject = f"{config.REGISTERED_MODEL} version {champion['version']} no longer fits"

    run_id, states = run_monitor(airflow)
    assert (states["tell_the_team"], states["ask_for_retraining"], states["all_is_well"]) == (
        "success",
        "success",
        "skipped",
    )
    mail = mailbox.wait_for(subject)
    assert "hdlngth has drifted: PSI" in mail
    assert "asked for now" in mail
    report = report_of(airflow, run_id)
    assert report["url"] in mail
    assert storage.read_bytes(report["picture"]).startswith(b"\x89PNG")
    with tracking.connected():
        run = MlflowClient().get_run(report["run_id"])
        version = MlflowClient().get_model_version(config.REGISTERED_MODEL, champion["version"])
    assert run.info.run_name == "Monitoring"
    assert run.data.tags["model_version"] == champion["version"]
    assert version.tags["monitoring_run_id"] == run.info.run_id
    assert run.data.metrics["p_hdlngth"] < 0.02 < run.data.metrics["p_age"]
    wait_for_retraining(airflow, run_id)

    again, states = run_monitor(airflow)
    assert (states["tell_the_team"], states["ask_for_retraining"]) == ("success", "skipped")
    assert "asked for already, not again before" in mailbox.wait_for(subject)
    assert "retraining" not in [event["name"] for event in airflow.events("monitor", again)]


def test_tails_measured_are_looked_at_as_soon_as_they_are_there(
    airflow: Airflow, champion: dict[str, str], mailbox: Mailbox, only_features: None, put_animals: Callable[..., None]
) -> None:
    before = {run["dag_run_id"] for run in airflow.get("dags/monitor/dagRuns", limit=100)["dag_runs"]}
    put_animals(f"{LABELLED.uri.rstrip('/')}/measured.csv", taill=4.0)
    deadline = time.monotonic() + 30
    while not (
        started := {r["dag_run_id"] for r in airflow.get("dags/monitor/dagRuns", limit=100)["dag_runs"]} - before
    ):
        assert time.monotonic() < deadline, "the file set off no run"
        time.sleep(POLL)
    (run_id,) = started
    states = states_of(airflow, run_id)
    assert (states["measure_drift"], states["measure_decay"], states["tell_the_team"]) == (
        "skipped",
        "success",
        "success",
    )
    mail = mailbox.wait_for(f"{config.REGISTERED_MODEL} version {champion['version']} no longer fits")
    assert "the error has grown: RMSE" in mail
    if states["ask_for_retraining"] == "success":  # where this test runs alone, no cool-down is on
        wait_for_retraining(airflow, run_id)


def test_a_failed_task_is_told_with_its_error_and_its_log(
    airflow: Airflow, first: Pipeline, mailbox: Mailbox, possum_csv: Path
) -> None:
    possum_csv.unlink()
    run_id = airflow.trigger("feature_eng")
    assert airflow.wait("feature_eng", run_id) == "failed"
    mail = mailbox.wait_for("feature_eng.extract_data failed")
    for fact in ("feature_eng", "extract_data", run_id, "is missing: put the possum table there"):
        assert fact in mail
    link = mail.split('href="')[1].split('"')[0]
    assert "/dags/feature_eng/runs/manual__" in link
    assert "/tasks/extract_data?try_number=1" in link
    assert httpx.get(link).is_success
    assert PASSWORD not in mail


def test_a_run_that_is_late_is_told_while_it_runs(
    stack: Stack, airflow: Airflow, mailbox: Mailbox, tmp_path: Path
) -> None:
    file = stack.settings.project / "dags" / "late.py"
    file.write_text(LATE)
    try:
        airflow.wait_for_dags(["late"])
        run_id = airflow.trigger("late", {"file": str(tmp_path / "go_on")})
        mail = mailbox.wait_for("late missed its deadline")
        assert airflow.run("late", run_id)["state"] == "running"
        assert run_id in mail
    finally:
        (tmp_path / "go_on").touch()
        file.unlink()
    assert airflow.wait("late", run_id) == "success"
