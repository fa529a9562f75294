"""Alerts for failed tasks, missed deadlines, rejected files and drift.

The Airflow notifier in the variable ``alerts`` sends them.

The Airflow variable ``alerts`` is a JSON object. ``{"to": "team@example.org"}`` sends mail through the connection
``smtp_default``. Another ``notifier``, by its dotted path, replaces the mail; the other entries are its arguments,
templates in which ``alert`` is an :class:`Alert`::

    {"notifier": "airflow.providers.slack.notifications.slack.SlackNotifier", "text": "{{ alert.text }}"}

Without the variable no alert is sent, and nothing fails.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from airflow.sdk import Variable
from airflow.sdk.configuration import conf
from airflow.sdk.log import redact
from airflow.sdk.module_loading import import_string

VARIABLE = "alerts"
MAIL = {
    "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
    "subject": "{{ alert.subject }}",
    "html_content": "{{ alert.html }}",
}
GUIDE = "What to do: docs/operations.md, section Alerts"
MAX_ERROR = 300  # characters of an error in an alert

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """A subject, facts by name, and the page to open."""

    subject: str
    facts: Mapping[str, str]
    url: str

    @property
    def text(self) -> str:
        """The alert as plain text, for a chat."""
        return "\n".join([self.subject, *(f"{name}: {fact}" for name, fact in self.facts.items()), self.url, GUIDE])

    @property
    def html(self) -> str:
        """The alert as the content of a mail."""
        rows = "".join(f"<tr><th align=left>{escape(n)}</th><td>{escape(f)}</td></tr>" for n, f in self.facts.items())
        link = f'<p><a href="{escape(self.url)}">{escape(self.url)}</a></p>'
        return f"<h3>{escape(self.subject)}</h3><table cellpadding=4>{rows}</table>{link}<p>{GUIDE}</p>"


def send(alert: Alert) -> None:
    """Send an alert with the notifier of the variable ``alerts``, if it is set.

    :raises ValueError: the variable is not a JSON object or does not name a notifier
    """
    if setting := Variable.get(VARIABLE, default=None):
        _build_notifier(setting)({"alert": alert})
    else:
        log.info("No alert is sent, the Airflow variable %s is not set: %s", VARIABLE, alert.subject)


def alert_failure(context: Mapping[str, Any]) -> None:
    """Send an alert for a task that failed its last try; an ``on_failure_callback``, whose own errors are logged."""
    task = context["ti"]
    index = f"[{task.map_index}]" if (task.map_index is not None and task.map_index >= 0) else ""
    facts = {
        "DAG": task.dag_id,
        "task": f"{task.task_id}{index}",
        "run": task.run_id,
        "try": str(task.try_number),
        "error": _first_line(context.get("exception")),
    }
    send(Alert(f"{task.dag_id}.{task.task_id}{index} failed", facts, task.log_url))


async def alert_missed_deadline(context: Mapping[str, Any], limit: str) -> None:
    """Send an alert for a run that did not end in time; the triggerer calls it."""
    from asgiref.sync import sync_to_async

    run = context["dag_run"]
    dag_id, run_id = run["dag_id"], run["dag_run_id"]
    facts = {"DAG": dag_id, "run": run_id, "limit": limit, "queued at": str(run["queued_at"])}
    # Not asyncio.to_thread: in its thread, the variable cannot be read through the triggerer.
    await sync_to_async(send)(Alert(f"{dag_id} missed its deadline", facts, run_url(dag_id, run_id)))


def run_url(dag_id: str, run_id: str) -> str:
    """Return the address of a run's page in Airflow."""
    base = conf.get("api", "base_url", fallback="http://localhost:8080/")
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}"


def _build_notifier(setting: str) -> Any:
    try:
        arguments = json.loads(setting)
        arguments = arguments if "notifier" in arguments else {**MAIL, **arguments}
        return import_string(arguments.pop("notifier"))(**arguments)
    except (ValueError, TypeError, ImportError) as error:
        raise ValueError(
            f"the Airflow variable {VARIABLE} does not define a notifier: {error}. "
            'Set it to a JSON object such as {"to": "team@example.org"}'
        ) from error


def _first_line(error: object) -> str:
    """Return the first line of an error, without secrets that Airflow knows and without logins in addresses."""
    lines = str(error).strip().splitlines() if error else []
    name = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
    line = f"{name}{lines[0]}" if lines else f"{name}no message: the task was killed, or its worker was lost"
    return re.sub(r"//[^/@\s]+@", "//***@", str(redact(line)))[:MAX_ERROR]
