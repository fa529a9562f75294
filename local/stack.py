"""Start, check and stop the services of a local stack with supervisord."""

import contextlib
import os
import shutil
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
import psycopg2
from supervisor.xmlrpc import SupervisorTransport

from containers.mlflow_accounts import ensure_user
from local.backup import upgrade
from local.postgres import find_program
from local.programs import write_configuration
from local.settings import AIRFLOW_PROGRAMS, AIRFLOW_USER, USER, Settings, find_obstacle, stored_options

START_TIMEOUT, STOP_TIMEOUT = 180, 120  # seconds


@dataclass(frozen=True)
class Service:
    """A service of the stack.

    :param name: the name on the command line
    :param title: the name in messages
    :param programs: its programs, of ``local/programs.py``
    :param port: the setting of its port
    :param health: the path to request, and the status codes that mean ready
    :param optional: whether it starts only when named
    """

    name: str
    title: str
    programs: tuple[str, ...]
    port: str
    health: tuple[str, range | tuple[int, ...]]
    optional: bool = False


SERVICES = {
    service.name: service
    for service in (
        Service("s3", "S3", ("s3",), "S3_PORT", ("/", range(500))),
        Service("mlflow", "MLflow", ("mlflow",), "MLFLOW_PORT", ("/health", (200,))),
        Service("airflow", "Airflow", AIRFLOW_PROGRAMS, "AIRFLOW_PORT", ("/api/v2/monitor/health", (200,))),
        # Without a champion the model server is up and returns 503.
        Service("serve", "Model", ("model-server",), "SERVE_PORT", ("/ping", (200, 503)), optional=True),
        Service("metrics", "Metrics", ("metrics",), "METRICS_PORT", ("/metrics", (200,)), optional=True),
    )
}


class StackError(Exception):
    """A command failed; the message says what to do."""


class Stack:
    """The services of one stack: ``start``, ``stop``, ``is_ready``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def supervisor(self) -> ServerProxy:
        """The supervisor's XML-RPC interface."""
        transport = SupervisorTransport(None, None, f"unix://{self.settings.socket}")
        return ServerProxy("http://127.0.0.1", transport=transport)

    def start(self, names: list[str], on_ready: Callable[[Service, float], None] = lambda *_: None) -> None:
        """Start services and wait until each is ready; running ones are left alone.

        :param names: any of ``s3``, ``mlflow``, ``airflow``, ``serve``, ``metrics``
        :param on_ready: called with each service and its start time in seconds
        :raises StackError: if a name is unknown, a port is taken or a service does not become ready
        """
        if unknown := [name for name in names if name not in SERVICES]:
            raise StackError(f"there is no service {unknown[0]!r}: choose from {', '.join(SERVICES)}")
        wanted, started = [SERVICES[name] for name in names], time.monotonic()
        idle = self._prepare(wanted)
        for service in sorted(idle, key=lambda service: service.name == "airflow"):
            self._start_programs(service)
        for service in self._as_they_become_ready(wanted):
            if service.name == "mlflow":
                self._create_airflow_user()
            on_ready(service, time.monotonic() - started)

    def stop(self) -> None:
        """Stop every process of the stack."""
        if supervisor := self.find_supervisor():
            supervisor.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):  # it ends one program after the other
                supervisor.wait(timeout=STOP_TIMEOUT)
        self._end_leftovers()
        shutil.rmtree(self.settings.socket.parent, ignore_errors=True)  # a supervisor that was killed leaves its socket

    def stop_program(self, name: str) -> None:
        """Stop one program that is running, and wait until it has ended."""
        self.supervisor.supervisor.stopProcess(name)

    def is_running(self, service: Service) -> bool:
        """Return whether the supervisor runs a service, ready or not."""
        try:
            states = [self.info(program)["statename"] for program in self.programs(service)]
        except (OSError, Fault):  # there is no supervisor, or it is stopping
            return False
        return any(state in ("STARTING", "RUNNING", "BACKOFF") for state in states)

    def is_ready(self, service: Service) -> bool:
        """Return whether a service accepts requests."""
        path, codes = service.health
        try:
            response = httpx.get(self.settings.url(service.name) + path)
        except httpx.TransportError:
            return False
        if service.name == "airflow" and response.is_success:
            parts = response.json().values()
            return all(part["status"] == "healthy" for part in parts if part["status"])
        return response.status_code in codes

    def programs(self, service: Service) -> tuple[str, ...]:
        """Return the programs of a service, which for Airflow depend on executor and database."""
        return self.settings.airflow_programs if service.name == "airflow" else service.programs

    def info(self, program: str) -> dict[str, str]:
        """Return what the supervisor knows about a program: ``statename``, ``pid``, ``spawnerr``, ..."""
        return cast("dict[str, str]", self.supervisor.supervisor.getProcessInfo(program))

    def find_supervisor(self) -> psutil.Process | None:
        """Return the supervisor's process, or None if it does not run."""
        try:
            pid = int((self.settings.home / "supervisord.pid").read_text())
            return next((process for process in self.processes() if process.pid == pid), None)
        except (OSError, ValueError):
            return None

    def processes(self) -> Iterator[psutil.Process]:
        """Yield every process of this stack, identified by ``STACK_HOME`` in its environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get("STACK_HOME") == str(self.settings.home):
                    yield process

    def _check_programs(self) -> None:
        """Check that PostgreSQL and Redis are installed and have their ports, where they are to run."""
        programs = (("postgres", "postgres", "PostgreSQL"), ("redis", "redis-server", "Redis"))
        for program, file, title in programs:
            if program in self.settings.airflow_programs:
                if not find_program(file):
                    raise StackError(
                        f"{title} is not installed. Debian or Ubuntu: apt-get install postgresql redis-server; "
                        "macOS: brew install postgresql redis"
                    )
                self._check_port(title, f"{program.upper()}_PORT")

    def _as_they_become_ready(self, services: list[Service]) -> Iterator[Service]:
        deadline = time.monotonic() + START_TIMEOUT
        waiting = list(services)
        while waiting:
            for service in [service for service in waiting if self._has_started(service) and self.is_ready(service)]:
                waiting.remove(service)
                yield service
            if waiting and time.monotonic() > deadline:
                names = ", ".join(service.title for service in waiting)
                raise StackError(f"not ready after {START_TIMEOUT} s: {names}. See {self.settings.logs}")
            time.sleep(0.2)

    def _has_started(self, service: Service) -> bool:
        """Return whether all programs run: another server on the port must not pass for the service."""
        infos = {program: self.info(program) for program in self.programs(service)}
        for program, info in infos.items():
            if info["statename"] == "FATAL":
                log = self.settings.logs / f"{program.rpartition(':')[2]}.log"
                raise StackError(f"{service.title} does not start: {last_line(log) or info['spawnerr']}\nLog: {log}")
        return all(info["statename"] == "RUNNING" for info in infos.values())

    def _check_port(self, title: str, name: str) -> None:
        port = self.settings.ports[name]
        if obstacle := find_obstacle(port):
            raise StackError(
                f"Port {port} ({title}) cannot be used ({obstacle}): stop the program that uses it, "
                f"or choose another port, for example: make up {name}={port + 1000}"
            )

    def _prepare(self, wanted: list[Service]) -> list[Service]:
        """Return the services that do not run yet, after checking their ports and starting the supervisor."""
        supervisor = self.find_supervisor()
        if supervisor and self.settings.options != stored_options(self.settings.home):
            raise StackError("the stack already runs with other options: run make down, then start it again")
        if not supervisor:
            self._end_leftovers()
            upgrade(self.settings)
        idle = [service for service in wanted if not self.is_running(service)]
        for service in idle:
            self._check_port(service.title, service.port)
            if service.name == "airflow":
                self._check_programs()
        if supervisor:  # settings in the environment may be others than when it started
            programs = (program for service in idle for program in self.programs(service))
            self.settings.write_environments(programs)
        else:
            self._start_supervisor()
        return idle

    def _start_programs(self, service: Service) -> None:
        if service.name == "airflow":
            if self.settings.database == "postgresql":
                self._start_program("postgres")
                self._wait_for_database()
            self._migrate()
        for program in self.programs(service):
            self._start_program(program)

    def _start_program(self, program: str) -> None:
        try:
            self.supervisor.supervisor.startProcess(program, False)
        except Fault as error:
            if not error.faultString.startswith("ALREADY_STARTED"):
                raise StackError(f"{program} does not start: {error.faultString}") from error

    def _wait_for_database(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                psycopg2.connect(self.settings.database_url.replace("+psycopg2", "")).close()
                return
            except psycopg2.OperationalError as error:
                if self.info("postgres")["statename"] == "FATAL" or time.monotonic() > deadline:
                    log = self.settings.logs / "postgres.log"
                    raise StackError(f"PostgreSQL does not start: {last_line(log)}\nLog: {log}") from error
                time.sleep(0.2)

    def _start_supervisor(self) -> None:
        self.settings.create_folders()
        configuration = write_configuration(self.settings)
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(configuration)]
        subprocess.run(command, env=self.settings.base_environment(), cwd=self.settings.project, check=True)
        self.supervisor.supervisor.getState()  # the socket exists now; wait for the first response

    def _migrate(self) -> None:
        """Create or upgrade Airflow's database before its four processes connect to it."""
        log = self.settings.logs / "migrate.log"
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        with log.open("w") as stream:
            ended = subprocess.run(
                command, env=self.settings.environment(), stdout=stream, stderr=subprocess.STDOUT, check=False
            )
        if ended.returncode:
            raise StackError(f"Airflow's database cannot be migrated: {last_line(log)}\nLog: {log}")

    def _create_airflow_user(self) -> None:
        secret = self.settings.secrets()
        administrator = (USER, secret["MLFLOW_PASSWORD"])
        ensure_user(self.settings.url("mlflow"), administrator, (AIRFLOW_USER, secret["AIRFLOW_MLFLOW_PASSWORD"]))

    def _end_leftovers(self) -> None:
        """End processes that outlived their supervisor, such as workers of a killed scheduler; delete their files."""
        waiting = list(self.processes())
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in waiting:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end(process)
            waiting = psutil.wait_procs(waiting, timeout=10)[1]
        shutil.rmtree(self.settings.temporary, ignore_errors=True)


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, or an empty string."""
    lines = log.read_text().split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "")
