"""A thin client of Airflow's REST API: trigger a DAG, follow its run, find what it set off.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from local.settings import USER, Settings

POLL = 0.3  # seconds between two looks at a run; Airflow offers no event to wait for
FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}


class Airflow:
    """The Airflow of a local stack."""

    def __init__(self, settings: Settings) -> None:
        hooks = {"response": [_raise_with_reason]}
        self._http = httpx.Client(base_url=settings.airflow_url, timeout=30, event_hooks=hooks)
        login = {"username": USER, "password": settings.secrets()["AIRFLOW_PASSWORD"]}
        token = self._http.post("/auth/token", json=login).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the JSON of ``/api/v2/<path>``."""
        return self._http.get(f"/api/v2/{path}", params=params).json()

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send JSON to ``/api/v2/<path>`` and return the JSON of the answer, if there is any."""
        response = self._http.request(method, f"/api/v2/{path}", json=body)
        return response.json() if response.content else {}

    def wait_for_dags(self, dag_ids: list[str], timeout: float = 60) -> None:
        """Wait until DAGs are known to Airflow, and make sure that none of them is paused.

        :raises TimeoutError: if one is not known in time, with the import errors that Airflow reports
        """
        deadline = time.monotonic() + timeout
        while missing := set(dag_ids) - {dag["dag_id"] for dag in self.get("dags", limit=100)["dags"]}:
            if time.monotonic() > deadline:
                errors = [error["stack_trace"] for error in self.get("importErrors")["import_errors"]]
                raise TimeoutError("\n".join([f"Airflow does not know {', '.join(sorted(missing))}", *errors]))
            time.sleep(POLL)
        for dag_id in dag_ids:
            self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def create_connection(self, conn_id: str, **fields: Any) -> None:
        """Define a connection: ``conn_type``, ``host``, ``login``, ``password``, ``extra`` (JSON), ..."""
        self._http.post("/api/v2/connections", json={"connection_id": conn_id, **fields})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body).json()["dag_run_id"]

    def announce(self, asset: str, extra: dict[str, Any]) -> None:
        """Say that an asset has been updated, as the task that writes it does; what it sets off starts."""
        found = self.get("assets", name_pattern=asset)["assets"]
        body = {"asset_id": next(entry["id"] for entry in found if entry["name"] == asset), "extra": extra}
        self._http.post("/api/v2/assets/events", json=body)

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that waits for a person."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._http.patch(path, json={"chosen_options": [option], "params_input": {}})

    def clear(self, dag_id: str, run_id: str, task_ids: list[str]) -> None:
        """Have tasks of a run done again, whatever became of them."""
        body = {"dag_run_id": run_id, "task_ids": task_ids, "dry_run": False, "only_failed": False}
        self._http.post(f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)

    def kill(self, dag_id: str, run_id: str) -> None:
        """End a run as failed: tasks that run are killed, teardowns still take their turn."""
        self._http.patch(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run: ``state``, ``start_date``, ``end_date``, ``duration`` in seconds, ..."""
        return self.get(f"dags/{dag_id}/dagRuns/{run_id}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances: ``task_id``, ``map_index``, ``state``, ``duration``, ``try_number``, ..."""
        return self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=500)["task_instances"]

    def follow(self, dag_id: str, run_id: str) -> Iterator[list[dict[str, Any]]]:
        """Yield a run's task instances again and again, the last time when the run has ended."""
        while True:
            ended = self.run(dag_id, run_id)["state"] in ("success", "failed")
            yield self.tasks(dag_id, run_id)
            if ended:
                return
            time.sleep(POLL)

    def wait(self, dag_id: str, run_id: str, timeout: float = 300) -> str:
        """Wait for a run's end and return its state.

        :raises TimeoutError: if it has not ended in time, with the tasks that have not
        """
        deadline = time.monotonic() + timeout
        for tasks in self.follow(dag_id, run_id):
            if time.monotonic() > deadline:
                left = [f"{task['task_id']}: {task['state']}" for task in tasks if task["state"] not in FINISHED]
                raise TimeoutError(f"{dag_id} {run_id} has not ended after {timeout} s: {', '.join(left)}")
        return self.run(dag_id, run_id)["state"]

    def events(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the asset events of a run: ``name``, ``extra`` and ``created_dagruns`` of each.

        Airflow 3.3.2 cannot show an event while a run that it set off is queued, because that has no start date: it
        answers 500, and is asked again for as long as a run may have to wait for the one before it.
        """
        queued = retry_if_exception(_is_server_error)
        ask = Retrying(retry=queued, wait=wait_fixed(POLL), stop=stop_after_delay(120), reraise=True)
        return ask(self.get, "assets/events", source_dag_id=dag_id, source_run_id=run_id)["asset_events"]

    def wait_for_consumer(self, dag_id: str, run_id: str, consumer: str, timeout: float = 60) -> str:
        """Return the id of the run of ``consumer`` that a run's asset set off.

        :raises TimeoutError: if there is none in time
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for created in (created for event in self.events(dag_id, run_id) for created in event["created_dagruns"]):
                if created["dag_id"] == consumer:
                    return created["run_id"]
            time.sleep(POLL)
        raise TimeoutError(f"{dag_id} {run_id} has not set off {consumer} after {timeout} s")

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """Return the log of a task instance's last try as text."""
        return "\n".join(text for line in self._log_lines(dag_id, run_id, task) for text in _texts(line))

    def error(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """Return the error that ended a task instance's last try: its type and its message."""
        errors = [text for line in self._log_lines(dag_id, run_id, task) for text in _texts(line)[1:2]]
        return errors[-1] if errors else "its log names no error"

    def _log_lines(self, dag_id: str, run_id: str, task: dict[str, Any]) -> list[str | dict[str, Any]]:
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        return self.get(path, map_index=task["map_index"], full_content=True)["content"]


def _texts(line: str | dict[str, Any]) -> list[str]:
    """Return what a line of a log says, then the exception that it tells of, then those that led to it."""
    if isinstance(line, str):
        return [line]
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
    return [str(line.get("event", "")), *errors]


def _is_server_error(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.is_server_error


def _raise_with_reason(response: httpx.Response) -> None:
    """Airflow says in the body what it did not like; httpx's own message leaves that out."""
    if response.is_error:
        asked = f"{response.request.method} {response.request.url}"
        reason = f"Airflow answers {response.status_code} to {asked}: {response.read().decode()[:1000]}"
        raise httpx.HTTPStatusError(reason, request=response.request, response=response)
