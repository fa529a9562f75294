"""The client of a local Airflow."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from local.airflow import Airflow
from local.settings import Settings, temporary


class FailingServer:
    """An ASGI application that fails as Airflow's: ``/api/v2/error`` is answered, and only then raises.

    The next request is answered after that.
    """

    def __init__(self) -> None:
        self.raised = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        failing = scope["path"] == "/api/v2/error"
        if scope["path"] == "/api/v2/dags":
            await self.raised.wait()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 500 if failing else 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"access_token": "x"}).encode()})
        if failing:
            asyncio.get_running_loop().call_later(1, self.raised.set)
            await asyncio.sleep(0.5)  # as long as it logs the error
            raise RuntimeError


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings whose Airflow is a ``FailingServer``."""
    settings = temporary(tmp_path)
    port = httpx.URL(settings.url("airflow")).port
    server = uvicorn.Server(uvicorn.Config(FailingServer(), port=port, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield settings
    server.should_exit = True
    thread.join()


def test_a_request_after_an_error_of_the_server_is_answered(settings: Settings) -> None:
    airflow = Airflow(settings)
    with suppress(httpx.HTTPStatusError):
        airflow.get("error")
    assert airflow.get("dags")
