"""The client of Airflow's REST API with the calls that only tests make."""

from collections.abc import Collection
from typing import Any

from local import airflow
from local.airflow import run_path
from tests.waiting import wait_until


class Airflow(airflow.Airflow):
    """The Airflow of a local stack."""

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """Return the log of a task instance's last try as text."""
        return "\n".join(text for line in self.log_lines(dag_id, run_id, task) for text in _texts(line))

    def create_connection(self, conn_id: str, **fields: Any) -> None:
        """Create a connection: ``conn_type``, ``host``, ``login``, ``password``, ``extra`` (JSON), ..."""
        self.send("POST", "connections", {"connection_id": conn_id, **fields})

    def announce(self, asset: str, extra: dict[str, Any]) -> None:
        """Create an asset event, which triggers the DAGs that are scheduled on the asset."""
        assets = self.get("assets", name_pattern=asset)["assets"]
        asset_id = next(found["id"] for found in assets if found["name"] == asset)
        self.send("POST", "assets/events", {"asset_id": asset_id, "extra": extra})

    def run_ids(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's runs, the oldest first."""
        return [run["dag_run_id"] for run in self._runs(dag_id)]

    def wait_for_new_runs(self, dag_id: str, known: Collection[str] = (), timeout: float = 60) -> set[str]:
        """Wait until a DAG has runs that are not known, and return their ids."""
        return wait_until(lambda: set(self.run_ids(dag_id)) - {*known}, timeout, f"nothing has triggered {dag_id}")

    def wait_until_idle(self, dag_id: str, timeout: float = 300) -> list[str]:
        """Wait until no run of a DAG is active and no asset event waits to start one; return the ids of all runs."""

        def is_idle() -> bool:
            # Runs are listed on both sides, because an event may have become a run between two requests.
            return not (self._is_active(dag_id) or self._events_waiting(dag_id) or self._is_active(dag_id))

        wait_until(is_idle, timeout, f"{dag_id} is not idle")
        return self.run_ids(dag_id)

    def _runs(self, dag_id: str) -> list[dict[str, Any]]:
        return self.get(f"dags/{dag_id}/dagRuns", order_by="run_after", limit=500)["dag_runs"]

    def _is_active(self, dag_id: str) -> bool:
        return any(run["state"] in ("queued", "running") for run in self._runs(dag_id))

    def _events_waiting(self, dag_id: str) -> int:
        return self.get(f"dags/{dag_id}/assets/queuedEvents")["total_entries"]

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Choose an option of a human-in-the-loop task."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        self.send("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def clear(self, dag_id: str, run_id: str, task_ids: list[str]) -> None:
        """Clear task instances of a run in any state, so that they run again."""
        body = {"dag_run_id": run_id, "task_ids": task_ids, "dry_run": False, "only_failed": False}
        self.send("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def kill(self, dag_id: str, run_id: str) -> None:
        """Mark a run as failed: its running tasks are killed, teardown tasks still run."""
        self.send("PATCH", run_path(dag_id, run_id), {"state": "failed"})


def _texts(line: str | dict[str, Any]) -> list[str]:
    """Return the message of a log line, then its exception, then the exceptions that caused that."""
    if isinstance(line, str):
        return [line]
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
    return [str(line.get("event", "")), *errors]
