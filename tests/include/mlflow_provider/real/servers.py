"""MLflow servers of one test session: real processes that end with it, also if it is killed."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from local.settings import ENVIRONMENTS, inherited
from tests.environments import build

START_TIMEOUT = 180  # seconds
POLL = 0.05  # seconds between two looks at a server that starts
SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

# Ends the server, and all that it started, as soon as the tests close the pipe or are gone themselves.
GUARD = """
import os, signal, subprocess, sys, threading

def end():
    os.killpg(0, signal.SIGKILL)

server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (server.wait(), end()), daemon=True).start()
sys.stdin.read()
end()
"""


class MLflowProcess:
    """A server with a database and artifacts of its own, on a port that it chooses itself.

    :param environment: the folder of the Python environment that holds its MLflow
    :param folder: an empty folder for all that it writes
    :param options: more options of ``mlflow server``
    :param scheme: http, or https if the options say so
    :param prefix: the path below which the options put everything
    """

    def __init__(self, environment: Path, folder: Path, *options: str, scheme: str = "http", prefix: str = "") -> None:
        self.log = folder / "server.log"
        command = [f"{environment}/bin/mlflow", *["server", "--host", "127.0.0.1", "--port", "0", "--workers", "1"]]
        command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", f"{folder}/files"]
        with self.log.open("w") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-c", GUARD, *command, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=inherited() | SETTINGS,
                start_new_session=True,
            )
        try:
            self.url = f"{scheme}://127.0.0.1:{self._wait_for_port()}{prefix}"
            self._wait_for_health()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End every process of the server at once."""
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait()

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server; none after its end."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._guard.pid).children(recursive=True)
        return []

    def pause(self) -> None:
        """Have the server accept connections and answer nothing."""
        for process in self.processes():
            process.suspend()

    def wait_for_calls(self, number: int) -> None:
        """Wait until this process has so many connections to the server."""
        port = urlsplit(self.url).port
        deadline = time.monotonic() + START_TIMEOUT
        while len([c for c in psutil.Process().net_connections("tcp4") if c.raddr and c.raddr.port == port]) < number:
            self._check(deadline)

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with suppress(psutil.Error):  # a process may end while it is looked at
                for process in self.processes():
                    for connection in process.net_connections("tcp4"):
                        if connection.status == psutil.CONN_LISTEN:
                            return connection.laddr.port
            self._check(deadline)

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", verify=False).is_success:  # noqa: S501 # a server of this test
                    return
            self._check(deadline)

    def _check(self, deadline: float) -> None:
        if self._guard.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the MLflow server does not start:\n{self.log.read_text()}")
        time.sleep(POLL)


def mlflow_3() -> Path:
    """Return the environment of the stack's own MLflow."""
    return ENVIRONMENTS / "mlflow"


def mlflow_2() -> Path:
    """Return the environment of MLflow 2, built if it is not there yet or outdated.

    :raises RuntimeError: it cannot be built
    """
    return build("mlflow-2")
