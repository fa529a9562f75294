"""Start, watch and stop the services of a local stack with the process supervisor."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from xmlrpc.client import Fault, ServerProxy

import httpx
import psutil
from supervisor.xmlrpc import SupervisorTransport

from containers.mlflow_accounts import ensure_user
from local.settings import AIRFLOW_USER, USER, Settings, remember, used_ports

START_TIMEOUT = 180  # seconds until a service that is not ready counts as broken


@dataclass(frozen=True)
class Service:
    """A service of the stack: its name, its programs in ``supervisord.conf`` and the setting of its port.

    An optional one starts only when it is named.
    """

    name: str
    title: str
    programs: tuple[str, ...]
    port: str
    optional: bool = False


SERVICES = {
    service.name: service
    for service in (
        Service("s3", "S3", ("s3",), "S3_PORT"),
        Service("mlflow", "MLflow", ("mlflow",), "MLFLOW_PORT"),
        Service("airflow", "Airflow", ("api-server", "scheduler", "dag-processor", "triggerer"), "AIRFLOW_PORT"),
        Service("serve", "Model", ("model-server",), "SERVE_PORT", optional=True),
    )
}


class StackError(Exception):
    """The stack cannot do what was asked; the message says what to do."""


class Stack:
    """The services of one stack: ``start``, ``stop``, ``is_ready``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def supervisor(self) -> ServerProxy:
        """The supervisor's remote interface."""
        transport = SupervisorTransport(None, None, f"unix://{self.settings.socket}")
        return ServerProxy("http://127.0.0.1", transport=transport)

    def start(self, names: list[str], on_ready: Callable[[Service, float], None] = lambda *_: None) -> None:
        """Start services and wait until each is ready; those that run already are left alone.

        :param names: any of ``s3``, ``mlflow``, ``airflow``, ``serve``
        :param on_ready: called with each service and its seconds as it becomes ready
        :raises StackError: if a name is unknown, a port is taken or a service does not become ready
        """
        wanted = [_service(name) for name in names]
        started = time.monotonic()
        self._start_supervisor(wanted)
        idle = [service for service in wanted if not self.is_running(service)]
        for service in idle:
            self._check_port(service)
        for service in sorted(idle, key=lambda service: service.name == "airflow"):
            if service.name == "airflow":
                self._migrate()
            for program in service.programs:
                self.start_program(program)
        for service in self._as_they_become_ready(wanted):
            if service.name == "mlflow":
                self._give_airflow_its_login()
            on_ready(service, time.monotonic() - started)

    def stop(self) -> None:
        """Stop every process of the stack, its supervisor last."""
        if supervisor := self._supervisor_process():
            supervisor.terminate()
            supervisor.wait(timeout=60)
        self._end_leftovers()

    def start_program(self, name: str) -> None:
        """Start one program of ``supervisord.conf``."""
        with _told("ALREADY_STARTED", f"{name} does not start"):
            self.supervisor.supervisor.startProcess(name, False)

    def stop_program(self, name: str) -> None:
        """Stop one program and wait for its end."""
        with _told("NOT_RUNNING", f"{name} does not stop"):
            self.supervisor.supervisor.stopProcess(name)

    def is_running(self, service: Service) -> bool:
        """Tell whether the supervisor runs a service, ready or not."""
        if not self._answers():
            return False
        return any(self._info(name)["statename"] in ("STARTING", "RUNNING", "BACKOFF") for name in service.programs)

    def is_ready(self, service: Service) -> bool:
        """Tell whether a service answers requests."""
        probe = {
            "s3": self._s3_is_ready,
            "mlflow": self._mlflow_is_ready,
            "airflow": self._airflow_is_ready,
            "serve": self._serve_is_ready,
        }
        try:
            return probe[service.name]()
        except httpx.TransportError:
            return False

    def _runs(self, service: Service) -> bool:
        return all(self._info(name)["statename"] == "RUNNING" for name in service.programs)

    def _info(self, program: str) -> dict[str, str]:
        return cast("dict[str, str]", self.supervisor.supervisor.getProcessInfo(program))

    def _s3_is_ready(self) -> bool:
        return httpx.get(self.settings.s3_url).status_code < 500

    def _mlflow_is_ready(self) -> bool:
        return httpx.get(f"{self.settings.mlflow_url}/health").is_success

    def _airflow_is_ready(self) -> bool:
        response = httpx.get(f"{self.settings.airflow_url}/api/v2/monitor/health")
        parts = response.json() if response.is_success else {}
        return bool(parts) and all(part["status"] == "healthy" for part in parts.values() if part["status"])

    def _serve_is_ready(self) -> bool:
        # Without a champion it answers 503, and goes on looking for one: it is ready nonetheless.
        return httpx.get(f"{self.settings.serve_url}/ping").status_code in (200, 503)

    def _as_they_become_ready(self, services: list[Service]) -> Iterator[Service]:
        deadline = time.monotonic() + START_TIMEOUT
        waiting = list(services)
        while waiting:
            # Running, because on a port taken at the last moment somebody else would answer.
            for service in [service for service in waiting if self._runs(service) and self.is_ready(service)]:
                waiting.remove(service)
                yield service
            for service in waiting:
                self._check_running(service)
            if waiting and time.monotonic() > deadline:
                names = ", ".join(service.title for service in waiting)
                raise StackError(f"not ready after {START_TIMEOUT} s: {names}. See {self.settings.logs}")
            time.sleep(0.2)

    def _check_running(self, service: Service) -> None:
        for program in service.programs:
            info = self._info(program)
            if info["statename"] == "FATAL":
                log = self.settings.logs / f"{program}.log"
                reason = info["spawnerr"] or _last_line(log)
                raise StackError(f"{service.title} does not start: {reason}\nThe whole log: {log}")

    def _check_port(self, service: Service) -> None:
        port = self.settings.ports[service.port]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise StackError(
                    f"Port {port} ({service.title}) cannot be used ({error.strerror}): stop what listens there, "
                    f"or choose another with {service.port}=<port>, for example: "
                    f"make up {service.port}={port + 1000}"
                ) from error

    def _start_supervisor(self, wanted: list[Service]) -> None:
        if self._supervisor_process():
            if self.settings.ports != used_ports(self.settings.home):
                raise StackError("the stack runs on other ports already: make down, then start it again")
            return
        self._end_leftovers()
        for service in wanted:
            self._check_port(service)
        self.settings.create_folders()
        remember(self.settings)
        configuration = Path(__file__).with_name("supervisord.conf")
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(configuration)]
        subprocess.run(command, env=self.settings.environment(), cwd=self.settings.project, check=True)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if time.monotonic() > deadline:
                raise StackError(f"the supervisor does not start: see {self.settings.logs / 'supervisord.log'}")
            time.sleep(0.05)

    def _supervisor_process(self) -> psutil.Process | None:
        try:
            pid = int((self.settings.home / "supervisord.pid").read_text())
            return next((process for process in self.processes() if process.pid == pid), None)
        except (OSError, ValueError):
            return None

    def _answers(self) -> bool:
        try:
            self.supervisor.supervisor.getState()
        except (OSError, Fault):
            return False
        return True

    def _migrate(self) -> None:
        """Create or upgrade Airflow's database, before four processes ask for it at once."""
        log = self.settings.logs / "migrate.log"
        with log.open("w") as stream:
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            ended = subprocess.run(
                command, env=self.settings.environment(), stdout=stream, stderr=subprocess.STDOUT, check=False
            )
        if ended.returncode:
            raise StackError(f"Airflow's database cannot be prepared: {_last_line(log)}\nThe whole log: {log}")

    def _give_airflow_its_login(self) -> None:
        secret = self.settings.secrets()
        administrator = (USER, secret["MLFLOW_PASSWORD"])
        ensure_user(self.settings.mlflow_url, administrator, (AIRFLOW_USER, secret["AIRFLOW_MLFLOW_PASSWORD"]))

    def _end_leftovers(self) -> None:
        """End what outlived its supervisor, such as the workers of a scheduler that was killed."""
        leftovers = list(self.processes())
        for process in leftovers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        stubborn = psutil.wait_procs(leftovers, timeout=10)[1]
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=10)

    def processes(self) -> Iterator[psutil.Process]:
        """Yield every process of this stack, known by the home folder in its environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get("STACK_HOME") == str(self.settings.home):
                    yield process


def _service(name: str) -> Service:
    if name not in SERVICES:
        raise StackError(f"there is no service {name!r}: choose from {', '.join(SERVICES)}")
    return SERVICES[name]


@contextlib.contextmanager
def _told(harmless: str, failure: str) -> Iterator[None]:
    """Turn what the supervisor says of a failure into an error, unless it is a harmless one."""
    try:
        yield
    except Fault as error:
        if not error.faultString.startswith(harmless):
            raise StackError(f"{failure}: {error.faultString}") from error


def _last_line(log: Path) -> str:
    lines = log.read_text().split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "its log is empty")
