"""Waiting for a model version in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from ..exceptions import MLflowError
from ._condition import NotYetError, VersionCondition

if TYPE_CHECKING:
    from ..hooks.client import MLflowClientHook

# A separate pool: the event loop has few threads, which logging and name resolution need.
_THREADS = ThreadPoolExecutor(32, thread_name_prefix="mlflow-trigger")


class MLflowModelVersionTrigger(BaseTrigger):
    """Fires when a version satisfies the condition of :class:`MLflowModelVersionSensor`.

    Its event is ``{"version": {...}, "page": "..."}``, the version and its page in MLflow, or ``{"error": message}``
    if waiting is pointless. It keeps waiting if the server or the connection is unavailable: the sensor has used both
    before it deferred.
    """

    def __init__(
        self, *, mlflow_conn_id: str = "mlflow_default", poke_interval: float = 60.0, **condition: Any
    ) -> None:
        super().__init__()
        self.condition = VersionCondition(**condition)
        self.mlflow_conn_id = mlflow_conn_id
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path, as this package was imported, and the arguments."""
        own = {"mlflow_conn_id": self.mlflow_conn_id, "poke_interval": self.poke_interval}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**asdict(self.condition), **own}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check until the version satisfies the condition or never will."""
        try:
            event = await self._wait()
        except AirflowException as error:
            event = {"error": str(error)}
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        while True:
            try:
                return await ask(self.mlflow_conn_id, self._check)
            except NotYetError as reason:
                self.log.info("Waiting: %s", reason)
            except (MLflowError, AirflowNotFoundException) as error:
                self.log.warning("Waiting: %s", error)
            await asyncio.sleep(self.poke_interval)

    def _check(self, hook: MLflowClientHook) -> dict[str, Any]:
        version = self.condition.check(hook)
        page = hook.server.page("models", version["name"], "versions", version["version"])
        return {"version": version, "page": page}


async def ask(conn_id: str, function: Callable[[MLflowClientHook], Any]) -> Any:
    """Call a function with the hook of a connection, in a thread for triggers."""
    connection = await BaseHook.aget_connection(conn_id)

    def call() -> Any:
        # Imported in the thread because it brings requests, which would block the event loop.
        from ..hooks.client import MLflowClientHook

        hook = MLflowClientHook(mlflow_conn_id=conn_id)
        hook.connection = connection
        return function(hook)

    # The context makes what the thread logs part of the task's log.
    return await asyncio.get_running_loop().run_in_executor(_THREADS, copy_context().run, call)
