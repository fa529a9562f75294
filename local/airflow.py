"""A small client for Airflow's REST API: trigger DAGs, wait for their runs, read events and logs.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from local.settings import USER, Settings

POLL = 0.3  # seconds between two requests for a run's state
FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}


class Airflow:
    """The Airflow of a local stack."""

    def __init__(self, settings: Settings) -> None:
        # uvicorn closes a connection after an error, and never answers a request that has come on it meanwhile.
        self._http = httpx.Client(
            base_url=settings.url("airflow"),
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),
            event_hooks={"response": [_raise_with_reason]},
        )
        login = {"username": USER, "password": settings.secrets()["AIRFLOW_PASSWORD"]}
        token = self._http.post("/auth/token", json=login).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the JSON of ``/api/v2/<path>``."""
        return self._http.get(f"/api/v2/{path}", params=params).json()

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send JSON to ``/api/v2/<path>`` and return the JSON of the response, empty if it has no body."""
        response = self._http.request(method, f"/api/v2/{path}", json=body)
        return response.json() if response.content else {}

    def wait_for_dags(self, dag_ids: list[str], timeout: float = 60) -> None:
        """Wait until Airflow has parsed the DAGs, then unpause them.

        :raises TimeoutError: with Airflow's import errors, if one is missing after ``timeout`` seconds
        """
        deadline = time.monotonic() + timeout
        while missing := set(dag_ids) - {dag["dag_id"] for dag in self.get("dags", limit=100)["dags"]}:
            if time.monotonic() > deadline:
                errors = [error["stack_trace"] for error in self.get("importErrors")["import_errors"]]
                raise TimeoutError("\n".join([f"Airflow has no DAG {', '.join(sorted(missing))}", *errors]))
            time.sleep(POLL)
        for dag_id in dag_ids:
            self.send("PATCH", f"dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        return self.send("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})["dag_run_id"]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run: ``state``, ``start_date``, ``end_date``, ``duration`` in seconds, ..."""
        return self.get(run_path(dag_id, run_id))

    def active_runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Return the queued and running runs of all DAGs."""
        return self.get("dags/~/dagRuns", state=["queued", "running"], limit=100, **filters)["dag_runs"]

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances: ``task_id``, ``map_index``, ``state``, ``duration``, ``try_number``, ..."""
        return self.get(f"{run_path(dag_id, run_id)}/taskInstances", limit=500)["task_instances"]

    def follow(self, dag_id: str, run_id: str) -> Iterator[list[dict[str, Any]]]:
        """Yield a run's task instances repeatedly until the run has ended."""
        while True:
            ended = self.run(dag_id, run_id)["state"] in ("success", "failed")
            yield self.tasks(dag_id, run_id)
            if ended:
                return
            time.sleep(POLL)

    def wait(self, dag_id: str, run_id: str, timeout: float = 300) -> str:
        """Wait for a run's end and return its state.

        :raises TimeoutError: with the unfinished tasks, if it has not ended after ``timeout`` seconds
        """
        deadline = time.monotonic() + timeout
        for tasks in self.follow(dag_id, run_id):
            if time.monotonic() > deadline:
                left = [f"{task['task_id']}: {task['state']}" for task in tasks if task["state"] not in FINISHED]
                raise TimeoutError(f"{dag_id} {run_id} has not ended after {timeout} s: {', '.join(left)}")
        return self.run(dag_id, run_id)["state"]

    def events(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the asset events of a run: ``name``, ``extra`` and ``created_dagruns`` of each.

        Airflow 3.3.2 answers 500 while a run that the event triggered is queued, because that has no start date yet.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_server_error), wait=wait_fixed(POLL), stop=stop_after_delay(120), reraise=True
        )
        return retrying(self.get, "assets/events", source_dag_id=dag_id, source_run_id=run_id)["asset_events"]

    def wait_for_consumer(self, dag_id: str, run_id: str, consumer: str, timeout: float = 60) -> str:
        """Return the id of the run of ``consumer`` that a run's asset event triggered.

        :raises TimeoutError: if there is none after ``timeout`` seconds
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for created in (created for event in self.events(dag_id, run_id) for created in event["created_dagruns"]):
                if created["dag_id"] == consumer:
                    return created["run_id"]
            time.sleep(POLL)
        raise TimeoutError(f"{dag_id} {run_id} has not triggered {consumer} after {timeout} s")

    def error(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """Return type and message of the error that ended a task instance's last try."""
        lines = [line for line in self.log_lines(dag_id, run_id, task) if isinstance(line, dict)]
        errors = [line["error_detail"][0] for line in lines if line.get("error_detail")]
        return "{exc_type}: {exc_value}".format(**errors[-1]) if errors else "its log has no error"

    def run_chain(self, dag_ids: list[str]) -> Iterator[tuple[str, str]]:
        """Start a run of the first DAG, and yield each DAG with the run that the one before it has triggered."""
        run_id = self.trigger(dag_ids[0])
        yield dag_ids[0], run_id
        for dag_id, consumer in pairwise(dag_ids):
            run_id = self.wait_for_consumer(dag_id, run_id, consumer)
            yield consumer, run_id

    def log_lines(self, dag_id: str, run_id: str, task: dict[str, Any]) -> list[str | dict[str, Any]]:
        """Return the log of a task instance's last try: ``event``, ``error_detail``, ... of each line, or its text."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        return self.get(path, map_index=task["map_index"], full_content=True)["content"]


def run_path(dag_id: str, run_id: str) -> str:
    """Return the path of a run below ``/api/v2/``."""
    return f"dags/{dag_id}/dagRuns/{run_id}"


def _is_server_error(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.is_server_error


def _raise_with_reason(response: httpx.Response) -> None:
    """Raise with the response's body, which has Airflow's reason; httpx leaves it out."""
    if response.is_error:
        request = f"{response.request.method} {response.request.url}"
        message = f"Airflow returned {response.status_code} to {request}: {response.read().decode()[:1000]}"
        raise httpx.HTTPStatusError(message, request=response.request, response=response)
