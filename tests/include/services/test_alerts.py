"""Alerts, sent to a real SMTP server and to a real HTTP server, as a Slack webhook is one."""

import asyncio
import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from airflow.sdk.log import mask_secret

from include.services.alerts import GUIDE, Alert, alert_failure, alert_missed_deadline, send

from ...network import Mailbox, free_port

ALERT = Alert("train.train_model failed", {"task": "train_model", "error": "1 < 2 & {{ 6 * 7 }}"}, "http://x/log?try=1")


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """An SMTP server at the connection ``smtp_default``, and the address of a team."""
    box, port = Mailbox(), free_port()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org", "retry_limit": 1}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_VAR_ALERTS", '{"to": "team@example.org, boss@example.org"}')
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box
    server.stop()


def failed(error: object, map_index: int | None = -1) -> dict[str, Any]:
    task = SimpleNamespace(
        dag_id="train",
        task_id="train_model",
        run_id="manual__1",
        try_number=3,
        map_index=map_index,
        log_url="http://localhost:8080/dags/train/runs/manual__1/tasks/train_model?try_number=3",
    )
    return {"ti": task, "exception": error}


def test_without_the_variable_no_alert_is_sent_and_nothing_fails(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_ALERTS")

    send(ALERT)

    assert mailbox.mails == []


def test_mail_needs_an_address_only(mailbox: Mailbox) -> None:
    send(ALERT)

    (mail,) = mailbox.mails
    assert (mail["Subject"], mail["From"]) == ("train.train_model failed", "airflow@example.org")
    assert mail["To"] == "team@example.org, boss@example.org"


def test_an_error_is_shown_as_text_neither_as_a_template_nor_as_html(mailbox: Mailbox) -> None:
    send(ALERT)

    assert "<td>1 &lt; 2 &amp; {{ 6 * 7 }}</td>" in mailbox.content()
    assert '<a href="http://x/log?try=1">' in mailbox.content()


def test_a_failure_names_dag_task_run_try_first_line_and_log(mailbox: Mailbox) -> None:
    alert_failure(failed(ValueError("no rows\nTraceback ..."), map_index=0))

    mail = mailbox.content()
    for fact in ("train", "train_model[0]", "manual__1", "<td>3</td>", "<td>ValueError: no rows</td>"):
        assert fact in mail
    assert 'href="http://localhost:8080/dags/train/runs/manual__1/tasks/train_model?try_number=3"' in mail
    assert "Traceback" not in mail


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, "no message: the task was killed, or its worker was lost"),
        ("Task killed!", "Task killed!"),
        (KeyError(), "KeyError: no message"),
        (RuntimeError("x" * 9999), "RuntimeError: " + "x" * 286 + "<"),
    ],
)
def test_a_failure_of_any_kind_is_alerted(mailbox: Mailbox, error: object, message: str) -> None:
    alert_failure(failed(error))

    assert message in mailbox.content()


def test_a_mail_contains_no_credential(mailbox: Mailbox) -> None:
    mask_secret("my-own-secret-key")

    alert_failure(failed(RuntimeError("my-own-secret-key refused at https://admin:hunter2@mlflow.example.org/api")))

    assert "RuntimeError: *** refused at https://***@mlflow.example.org/api" in mailbox.content()


def test_a_missed_deadline_names_the_run_and_the_limit(mailbox: Mailbox) -> None:
    run = {"dag_id": "train", "dag_run_id": "asset__2026-11-21T08:00:00+00:00", "queued_at": "2026-11-21T08:00:01Z"}

    asyncio.run(alert_missed_deadline({"dag_run": run}, limit="1:00:00"))

    mail = mailbox.content()
    for fact in ("train missed its deadline", "asset__2026-11-21T08:00:00+00:00", "1:00:00", "2026-11-21T08:00:01Z"):
        assert fact in mail
    assert "/dags/train/runs/asset__2026-11-21T08%3A00%3A00%2B00%3A00" in mail


def test_another_notifier_sends_alerts_to_a_chat_instead(
    mailbox: Mailbox, receiver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = {"conn_type": "http", "host": receiver.url}
    setting = {
        "notifier": "airflow.providers.http.notifications.http.HttpNotifier",
        "http_conn_id": "webhook",
        "json": {"text": "{{ alert.text }}"},
        "headers": {"Content-Type": "application/json"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WEBHOOK", json.dumps(webhook))
    monkeypatch.setenv("AIRFLOW_VAR_ALERTS", json.dumps(setting))

    send(ALERT)

    text = "train.train_model failed\ntask: train_model\nerror: 1 < 2 & {{ 6 * 7 }}\nhttp://x/log?try=1"
    assert [content for _, content in receiver.posts] == [{"text": f"{text}\n{GUIDE}"}]
    assert mailbox.mails == []


@pytest.mark.parametrize(
    "setting", ["team@example.org", '["team@example.org"]', '{"notifier": "no.such.Notifier"}', '{"from_email": "a@b"}']
)
def test_a_variable_that_does_not_define_a_notifier_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ALERTS", setting)

    with pytest.raises(
        ValueError, match=r"variable alerts does not define a notifier: .*Set it to a JSON object such as"
    ):
        send(ALERT)


def test_a_mail_server_that_is_down_is_an_error(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_SMTP_DEFAULT"]) | {"port": free_port()}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))

    with pytest.raises(OSError, match=r"[Cc]onnect"):
        send(ALERT)
