"""Alerts: a failed task, a missed deadline, drift. Told by the Airflow notifier that the variable ``alerts`` names.

The Airflow variable ``alerts`` is a JSON object. ``{"to": "team@example.org"}`` sends mail through the connection
``smtp_default``. Another ``notifier``, by its dotted path, takes the mail's place; all other entries are its
arguments, templates in which ``alert`` is an ``Alert``::

    {"notifier": "airflow.providers.slack.notifications.slack.SlackNotifier", "text": "{{ alert.text }}"}

Without the variable nobody is told, and nothing fails.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing Airflow makes its home folder, which a program that only reads names must not do
    from airflow.sdk.definitions.deadline import DeadlineAlert

VARIABLE = "alerts"
MAIL = {
    "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
    "subject": "{{ alert.subject }}",
    "html_content": "{{ alert.html }}",
}
LONGEST = 300  # characters of an error: a mail is no log

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What there is to tell: a subject, facts by name, and the page to look at."""

    subject: str
    facts: Mapping[str, str]
    url: str

    @property
    def text(self) -> str:
        """The alert in plain text, for a chat."""
        return "\n".join([self.subject, *(f"{name}: {fact}" for name, fact in self.facts.items()), self.url])

    @property
    def html(self) -> str:
        """The alert as a mail's content."""
        rows = "".join(f"<tr><th align=left>{escape(n)}</th><td>{escape(f)}</td></tr>" for n, f in self.facts.items())
        link = f'<p><a href="{escape(self.url)}">{escape(self.url)}</a></p>'
        return f"<h3>{escape(self.subject)}</h3><table cellpadding=4>{rows}</table>{link}"


class Deadline:
    """A DAG's ``deadline``: its runs are to end within `limit` of being queued, else an alert is sent.

    It is made of Airflow's classes only when a DAG asks for its items, so that naming it costs no import.
    """

    def __init__(self, limit: timedelta) -> None:
        self.limit = limit

    def __iter__(self) -> Iterator[DeadlineAlert]:
        from airflow.sdk.definitions.callback import AsyncCallback
        from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

        # The executor would run a SyncCallback, but Airflow 3.3.2 refuses it variables and connections (answer 403):
        # https://github.com/apache/airflow/pull/71192
        callback = AsyncCallback(tell_of_missed_deadline, kwargs={"limit": str(self.limit)})
        yield DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=self.limit, callback=callback)


def tell(alert: Alert) -> bool:
    """Send an alert with the notifier of the variable ``alerts``.

    :return: whether there is such a variable, and so someone was told
    :raises ValueError: if the variable is no JSON object or names no notifier
    """
    from airflow.sdk import Variable

    setting = Variable.get(VARIABLE, default=None)
    if not setting:
        log.info("Nobody is told of it: the Airflow variable %s is not set. %s", VARIABLE, alert.subject)
        return False
    _build_notifier(setting)({"alert": alert})
    return True


def _build_notifier(setting: str) -> Any:
    import json

    from airflow.sdk.module_loading import import_string

    try:
        arguments = json.loads(setting)
        arguments = arguments if "notifier" in arguments else {**MAIL, **arguments}
        return import_string(arguments.pop("notifier"))(**arguments)
    except (ValueError, TypeError, ImportError) as error:
        raise ValueError(
            f"the Airflow variable {VARIABLE} makes no notifier: {error}. "
            'Set it to a JSON object such as {"to": "team@example.org"}'
        ) from error


def tell_of_failure(context: Mapping[str, Any]) -> None:
    """Say that a task has failed for good; an ``on_failure_callback``, whose own errors Airflow only logs."""
    task = context["ti"]
    index = f"[{task.map_index}]" if (task.map_index is not None and task.map_index >= 0) else ""
    facts = {
        "DAG": task.dag_id,
        "task": f"{task.task_id}{index}",
        "run": task.run_id,
        "try": str(task.try_number),
        "error": _first_line(context.get("exception")),
    }
    tell(Alert(f"{task.dag_id}.{task.task_id}{index} failed", facts, task.log_url))


async def tell_of_missed_deadline(context: Mapping[str, Any], limit: str) -> None:
    """Say that a run has not ended in time; called by the triggerer with what Airflow knows of the run."""
    from asgiref.sync import sync_to_async

    run = context["dag_run"]
    dag_id, run_id = run["dag_id"], run["dag_run_id"]
    facts = {"DAG": dag_id, "run": run_id, "limit": limit, "queued at": str(run["queued_at"])}
    # not asyncio.to_thread, from which the triggerer could not be asked for the variable
    await sync_to_async(tell)(Alert(f"{dag_id} missed its deadline", facts, run_url(dag_id, run_id)))


def run_url(dag_id: str, run_id: str) -> str:
    """Return the address of a run's page in Airflow."""
    from urllib.parse import quote

    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="http://localhost:8080/")
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}"


def _first_line(error: object) -> str:
    """The first line of an error without what Airflow knows to be secret and without logins in addresses."""
    from airflow.sdk.log import redact

    lines = str(error).strip().splitlines() if error else []
    name = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
    line = f"{name}{lines[0]}" if lines else f"{name}none was left: the task was killed, or its worker was lost"
    return re.sub(r"//[^/@\s]+@", "//***@", str(redact(line)))[:LONGEST]
