"""Run the containers of ``astro dev start`` as processes, without Docker, and the DAGs on them: ``make rehearse``.

Commands, environment, order and health checks come from the compose file. This machine's PostgreSQL replaces its image,
the locked local environments replace the images of Airflow and Python, and rclone replaces MinIO, whose accounts are
therefore not created.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from dotenv import dotenv_values
from rich.console import Console

from containers.make_env import main as make_env
from local.settings import ENVIRONMENTS, PROJECT, Settings, inherited
from tests.containers.compose import Container, containers

COPIED = (
    "dags",
    "include",
    "containers",
    ".astro",
    "local/requirements",
    "docker-compose.override.yml",
    ".env_example",
)
HEALTHY_WITHIN = 180  # seconds


class RehearsalError(Exception):
    """A service does not start; the message has its name and the end of its log."""


@dataclass(frozen=True)
class Rehearsed(Settings):
    """The running rehearsal, as settings for the demonstration and the REST client."""

    hosts: dict[str, str] = field(default_factory=dict)

    @property
    def airflow_url(self) -> str:
        """URL of Airflow's UI and REST API."""
        return f"http://{self.hosts['api-server']}:8080"

    @property
    def mlflow_url(self) -> str:
        """URL of MLflow's UI and REST API."""
        return f"http://{self.hosts['mlflow']}:5000"

    @property
    def s3_url(self) -> str:
        """URL of the S3 server."""
        return f"http://{self.hosts['minio']}:9000"

    def secrets(self) -> dict[str, str]:
        """Return every secret of the stack: those of the connections, and the generated ones by file."""
        given = dotenv_values(self.project / ".env")
        found = {"AIRFLOW_PASSWORD": str(given["AIRFLOW_ADMIN_PASSWORD"])}
        for name in ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"):
            found[name] = json.loads(str(given[name]))["password"]
        for file in (self.home / "volumes").glob("secrets_*/*"):
            found |= dict(_secrets_in(file))
        return found


class Rehearsal:
    """Starts and stops the processes."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.home = folder / "home"
        self.volumes = self.home / "volumes"
        self.logs = self.home / "logs"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.containers: dict[str, Container] = {}

    def start(self, report: Callable[[str], None] = lambda _: None) -> Rehearsed:
        """Start every service in order.

        :param report: called with a line about each service
        :raises RehearsalError: if one does not start
        """
        self._prepare()
        for container in containers(self.project, self.volumes, inherited()):
            self.containers[container.name] = container
            for name, condition in container.waits_for.items():
                self._wait(self.containers[name], condition)
            report(self._start(container))
        for container in self.containers.values():
            self._wait(container, "service_healthy")
        hosts = {name: container.host for name, container in self.containers.items()}
        return Rehearsed(project=self.project, home=self.home, hosts=hosts)

    def stop(self) -> None:
        """Stop every process, in reverse order."""
        for process in reversed(self.running.values()):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
        leftovers = list(self.processes())
        for leftover in leftovers:
            with contextlib.suppress(psutil.NoSuchProcess):
                leftover.kill()
        psutil.wait_procs(leftovers, timeout=10)

    def processes(self) -> Iterator[psutil.Process]:
        """Yield every process of this rehearsal, identified by ``REHEARSAL`` in its environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("REHEARSAL") == str(self.home):
                    yield process

    def environment(self) -> dict[str, str]:
        """Return the connections and settings of ``.env``, as Airflow's services get them."""
        given = {name: value for name, value in dotenv_values(self.project / ".env").items() if value}
        scheduler = self.containers["scheduler"]
        return {name: scheduler.translate(value) for name, value in given.items()}

    def _prepare(self) -> None:
        for name in COPIED:
            source, target = PROJECT / name, self.project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            skipped = shutil.ignore_patterns("__pycache__", "plots")
            shutil.copytree(source, target, ignore=skipped) if source.is_dir() else shutil.copy(source, target)
        make_env(self.project)
        self.logs.mkdir(parents=True)
        self.volumes.mkdir()
        (self.volumes / "mlflow_packages").symlink_to(ENVIRONMENTS / "mlflow")  # already installed from the same lock
        for folder in (self.home.parent, self.home, self.volumes, self.project):
            folder.chmod(0o755)  # PostgreSQL runs as another user

    def _start(self, container: Container) -> str:
        if container.name in ("minio-accounts", "mlflow-packages"):
            return f"{container.name}: left out, not needed here"
        prepare = {"postgres": self._postgres, "minio": self._s3}
        container = prepare.get(container.name, lambda it: it)(container)
        self.containers[container.name] = container
        with (self.logs / f"{container.name}.log").open("wb") as log:
            self.running[container.name] = self._spawn(container.command, container, stdout=log)
        return f"{container.name}: {' '.join(container.command)}"

    def _spawn(self, command: list[str], container: Container, **kwargs: Any) -> subprocess.Popen[bytes]:
        environment = {
            **inherited(),
            "PATH": os.pathsep.join([str(ENVIRONMENTS / "airflow/bin"), *_postgres_programs(), os.environ["PATH"]]),
            "REHEARSAL": str(self.home),
            **(self._airflow_environment(container) if container.image == "airflow" else {}),
            **container.environment,
        }
        user = "postgres" if container.name == "postgres" and os.geteuid() == 0 else None
        return subprocess.Popen(
            command,
            env=environment,
            cwd=self.home,
            stderr=subprocess.STDOUT,
            user=user,
            start_new_session=True,
            **kwargs,
        )

    def _airflow_environment(self, container: Container) -> dict[str, str]:
        """Return the variables that the image adds."""
        home = self.home / "airflow"
        home.mkdir(exist_ok=True)
        return {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.project / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__API__HOST": container.host,
            "PYTHONPATH": str(self.project),
            "MODEL_ENVIRONMENTS": str(ENVIRONMENTS / "models"),
        }

    def _postgres(self, container: Container) -> Container:
        """Initialise the volume as the image's entry point does, and return the container with the server's command."""
        data = Path(container.paths["/var/lib/postgresql/data"])
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, "postgres")
        password = container.paths["/secrets/postgres"] + "/password"
        self._run(
            ["initdb", "--auth", "scram-sha-256", "--username", "postgres", "--pwfile", password, data], container
        )
        listen = f"-c listen_addresses={container.host} -c unix_socket_directories={data}"
        quiet = ["pg_ctl", "-D", data, "-w", "-s", "-l", data / "setup.log"]
        self._run([*quiet, "-o", listen.replace(container.host, "''"), "start"], container)
        secret = {"PGHOST": str(data), "PGPASSWORD": Path(password).read_text()}
        for script in sorted(Path(container.paths["/docker-entrypoint-initdb.d"]).iterdir()):
            text = script.read_text().replace("/secrets/postgres", container.paths["/secrets/postgres"])
            (data / script.name).write_text(text)
            service = {**container.service, "environment": {**container.service["environment"], **secret}}
            self._run(["sh", data / script.name], replace(container, service=service))
        self._run([*quiet, "stop"], container)
        return _with_command(container, ["postgres", "-D", str(data), *listen.split()])

    def _s3(self, container: Container) -> Container:
        """Return the container with rclone's S3 server, and the keys that the accounts would have."""
        folder = Path(container.paths["/data"])
        folder.mkdir()
        keys = [
            ",".join((Path(container.paths["/secrets/s3"]) / f"{name}.key").read_text().split())
            for name in ("airflow", "mlflow")
        ]
        environment = {"RCLONE_AUTH_KEY": ",".join(f'"{key}"' for key in keys), "RCLONE_CONFIG": os.devnull}
        command = ["rclone", "serve", "s3", "--addr", f"{container.host}:9000", str(folder)]
        ready = f"import socket; socket.create_connection(('{container.host}', 9000), 4)"
        check = {"test": ["CMD", "python", "-c", ready]}
        service = {**container.service, "environment": environment, "healthcheck": check}
        return _with_command(replace(container, service=service), command)

    def _run(self, command: list[Any], container: Container) -> None:
        process = self._spawn([str(part) for part in command], container, stdout=subprocess.PIPE)
        output, _ = process.communicate(timeout=HEALTHY_WITHIN)
        if process.returncode:
            raise RehearsalError(f"{container.name}: {command[0]} failed: {output.decode()}")

    def _wait(self, container: Container, condition: str) -> None:
        """Wait until a service is in the condition that another one needs."""
        process = self.running.get(container.name)
        if process is None:
            return
        if condition == "service_completed_successfully" or container.is_task:
            if process.wait(timeout=HEALTHY_WITHIN):
                raise RehearsalError(f"{container.name} failed: {self._last_lines(container)}")
            if container.name == "secrets":
                self._translate_addresses(container)
            return
        deadline = time.monotonic() + HEALTHY_WITHIN
        while container.health_check and not self._is_healthy(container):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RehearsalError(f"{container.name} is not healthy: {self._last_lines(container)}")
            time.sleep(0.3)

    def _last_lines(self, container: Container) -> str:
        return "\n".join((self.logs / f"{container.name}.log").read_text().splitlines()[-30:])

    def _translate_addresses(self, container: Container) -> None:
        """Replace the services' addresses in the files of secrets by this machine's."""
        for file in self.volumes.glob("secrets_*/*"):
            text = file.read_text()
            if (translated := container.translate(text)) != text:
                mode = file.stat().st_mode
                file.unlink()
                file.write_text(translated)
                file.chmod(mode)

    def _is_healthy(self, container: Container) -> bool:
        process = self._spawn(container.health_check, container, stdout=subprocess.DEVNULL)
        return process.wait() == 0


def _secrets_in(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each long word with a digit in a file: every generated secret is one."""
    for number, word in enumerate(re.findall(r"[\w-]{20,}=*", file.read_text())):
        if any(character.isdigit() for character in word):
            yield f"{file.parent.name}/{file.name} {number}", word


def _with_command(container: Container, command: list[str]) -> Container:
    return replace(container, service={**container.service, "entrypoint": None, "command": command})


def _postgres_programs() -> list[str]:
    return [
        str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    ]  # Debian's folder


def main() -> int:
    """Start everything, run the DAGs, stop everything."""
    from local.demo import DemoError, run_demo

    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        rehearsal = Rehearsal(Path(folder))
        try:
            settings = rehearsal.start(lambda line: console.print(line, markup=False, soft_wrap=True))
            os.environ.update(rehearsal.environment() | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"})
            run_demo(settings, console)
        except (RehearsalError, DemoError, TimeoutError) as error:
            console.print(str(error), style="red", markup=False, soft_wrap=True)
            return 1
        finally:
            rehearsal.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
