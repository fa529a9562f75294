"""Benchmark: the model server compared with `mlflow models serve` and LitServe, with the same model and machine."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
import uvloop
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.data.split import select_rows, select_training
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.model.candidates import find_candidate
from include.model.interval_regressor import fill
from include.model.training import build_model, fit_with_intervals
from include.problem import PROBLEM
from include.services import tracking
from include.services.champions import CHAMPION_ALIAS, MODEL, model_uri
from include.serving.model_client import ServingError, smoke_test
from include.settings import AWS_CONN_ID, MLFLOW_CONN_ID
from local.settings import PROJECT, temporary
from local.stack import Stack

SECONDS = 10.0  # of load for each line of the table
LOADS = [(1, 1), (1, 10), (1, 100), (1000, 1), (1000, 10)]  # rows per request, connections
BODIES = 50  # different requests of a size
WAIT = 120.0  # for a server to start, and for a response
UV = Path(sys.executable).with_name("uv")
LITSERVE = "litserve==0.2.19"
LITSERVE_SCRIPT = """
import sys
import litserve
import mlflow
import pandas as pd

class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = mlflow.pyfunc.load_model(sys.argv[1])

    def decode_request(self, request):
        return pd.DataFrame(**request["dataframe_split"])

    def predict(self, rows):
        return self.model.predict(rows)

    def encode_response(self, predicted):
        return {"predictions": predicted.to_dict(orient="records")}

if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/invocations"), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
"""
console = Console(highlight=False, width=100)


class Address(NamedTuple):
    """A server on this machine."""

    name: str
    port: int


@dataclass
class Measured:
    """Result of a load: latencies of responses with status 200 (ms), number of other responses, duration (s)."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0


class Client(asyncio.Protocol):
    """A connection that sends a request as soon as the last one was answered, until a time.

    An HTTP library would need more time per request than the server.
    """

    def __init__(self, requests: Iterator[bytes], until: float, measured: Measured) -> None:
        self.requests, self.until, self.measured = requests, until, measured
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport: Any = transport
        self._send()

    def _send(self) -> None:
        self.received, self.sent = b"", time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        """Read a part of a response."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        if head.startswith(b"HTTP/1.1 200"):
            self.measured.latencies.append((time.perf_counter() - self.sent) * 1000)
        else:
            self.measured.errors += 1
        if time.perf_counter() < self.until:
            self._send()
        else:
            self.done.set_result(None)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request that the server did not answer."""
        if not self.done.done():
            self.measured.errors += 1
            self.done.set_result(None)


async def measure(port: int, bodies: list[bytes], connections: int, seconds: float) -> Measured:
    """Send requests over several connections at the same time."""
    measured, started = Measured(), time.perf_counter()
    loop = asyncio.get_running_loop()
    clients = []
    for start in range(connections):
        requests = (_write_request(bodies[place % len(bodies)], port) for place in count(start))
        client = Client(requests, started + seconds, measured)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        clients.append(client)
    _, pending = await asyncio.wait([client.done for client in clients], timeout=seconds + WAIT)
    measured.errors += len(pending)
    measured.seconds = time.perf_counter() - started
    return measured


def main() -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    name = sys.argv[1] if len(sys.argv) > 1 else "RidgeCV"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as running:
        servers, rows = _start(Path(folder), name, running)
        table = Table(title=f"{name}, {SECONDS:g} s a line, {os.cpu_count()} cores")
        for column in ("server", "rows", "clients", "p50 ms", "p99 ms", "requests/s", "rows/s", "errors"):
            table.add_column(column, justify="left" if column == "server" else "right", no_wrap=True)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Measuring", total=len(LOADS) * len(servers))
            for size, connections in LOADS:
                bodies = _make_bodies(rows, size)
                for server in servers:
                    progress.update(task, description=f"{server.name}, {size} rows, {connections} connections")
                    uvloop.run(measure(server.port, bodies, connections, 1))
                    measured = uvloop.run(measure(server.port, bodies, connections, SECONDS))
                    table.add_row(*_describe(server, size, connections, measured))
                    progress.advance(task)
                table.add_section()
    console.print(table)


def _describe(server: Address, size: int, connections: int, measured: Measured) -> list[str]:
    rate = len(measured.latencies) / measured.seconds
    middle, slow = np.percentile(measured.latencies or [np.nan], [50, 99])
    figures = [f"{middle:.2f}", f"{slow:.2f}", f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}", f"{rate * size:,.0f}"]
    return [server.name, f"{size:,}", str(connections), *figures, str(measured.errors)]


def _start(folder: Path, name: str, running: ExitStack) -> tuple[list[Address], pd.DataFrame]:
    """Start all servers with a candidate that is fitted to the project's table; also return rows to predict."""
    stack = Stack(temporary(folder / "stack"))
    running.callback(stack.stop)
    with console.status("Starting S3 and MLflow"):
        stack.start(["s3", "mlflow"])
    os.environ.update({key: value for key, value in stack.settings.environment().items() if key.startswith("AIRFLOW_")})
    with console.status(f"Fitting {name}"):
        rows = _register(name)
        with tracking.connected():
            model = MLflowPyfuncHook(MLFLOW_CONN_ID).fetch_model(model_uri("1"), folder / "model")
    with console.status("Starting the model server"):
        started = time.monotonic()
        stack.start(["serve"])
        smoke_test(stack.settings.url("serve"), rows.head(1), version="1", timeout=WAIT)
    console.print(f"The model server answered {time.monotonic() - started:.1f} s after its start")
    servers = [Address("this project", stack.settings.ports["SERVE_PORT"])]
    for peer, packages in (("mlflow models serve", []), (LITSERVE, [LITSERVE])):
        with console.status(f"Building an environment for {peer}, and starting it"):
            servers.append(running.enter_context(_run_peer(peer, folder, Path(model), packages)))
            url = f"http://127.0.0.1:{servers[-1].port}"
            retrying = Retrying(
                retry=retry_if_exception_type(ServingError),
                stop=stop_after_delay(WAIT),
                wait=wait_fixed(0.2),
                reraise=True,
            )
            retrying(smoke_test, url, rows.head(1))
    return servers, rows


def _register(name: str) -> pd.DataFrame:
    """Fit a candidate, make it champion, and return the complete rows of the table."""
    content = (PROJECT / PROBLEM.table).read_bytes()
    checked = inspect(parse_rows(content, PROBLEM.table), PROBLEM)
    table = select_training(select_rows(checked, PROBLEM.table, PROBLEM), PROBLEM)
    inputs = table[PROBLEM.inputs]
    selected = {key: values[0] for key, values in find_candidate(name).grid.items()}
    model = fit_with_intervals(build_model(PROBLEM, name, selected), inputs, table[PROBLEM.target.name])
    model.levels = {column: fill(inputs[column]).unique().tolist() for column in PROBLEM.categories}
    S3Hook(AWS_CONN_ID).create_bucket(PROBLEM.artifact_bucket)
    hook = MLflowClientHook(MLFLOW_CONN_ID)
    with tracking.connected(), mlflow.start_run(experiment_id=hook.create_experiment("bench", exist_ok=True)) as run:
        logged = tracking.log_model(model, inputs)
    hook.create_registered_model(MODEL)
    hook.create_model_version(MODEL, f"models:/{logged.model_id}", run.info.run_id)
    hook.set_registered_model_alias(MODEL, CHAMPION_ALIAS, "1")
    return inputs.dropna()


@contextmanager
def _run_peer(name: str, folder: Path, model: Path, packages: list[str]) -> Iterator[Address]:
    """Run another server with the model, in an environment of its own, built from the model's requirements."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment, script = folder / name.partition(" ")[0], folder / "serve_with_litserve.py"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    needed: list[Any] = ["--requirements", model / "requirements.txt", *packages]
    subprocess.run([UV, "pip", "install", "--quiet", "--python", environment, *needed], check=True)
    script.write_text(LITSERVE_SCRIPT)
    bin_ = environment / "bin"
    mlflow_serve = [bin_ / "mlflow", "models", "serve", "-m", model, "-p", str(port), "--env-manager", "local"]
    command: list[Any] = [bin_ / "python", script, model, str(port)] if packages else mlflow_serve
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    variables = os.environ | one_thread | {"PATH": f"{bin_}:{os.environ['PATH']}"}
    with (folder / f"{environment.name}.log").open("w") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        yield Address(name, port)
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _make_bodies(rows: pd.DataFrame, size: int) -> list[bytes]:
    """Return requests with random rows of the table."""
    samples = (rows.sample(size, replace=True, random_state=seed) for seed in range(BODIES))
    return [f'{{"dataframe_split": {sample.to_json(orient="split", index=False)}}}'.encode() for sample in samples]


def _write_request(body: bytes, port: int) -> bytes:
    head = f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    main()
