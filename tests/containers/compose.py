"""Translate the compose file's containers to processes of this machine.

A container's paths become folders, and its name becomes a loopback address, so that every service keeps its port.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ASTRO_CLI = Path(__file__).with_name("astro_cli.yml")
OVERRIDE = "docker-compose.override.yml"


class ComposeError(Exception):
    """The compose file is not valid; the message is Compose's."""


def merged(project: Path, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the Astro CLI's services merged with the project's override, as ``docker-compose config`` prints them.

    :param environment: the shell's variables, by default this process's
    :raises ComposeError: if the file is not valid
    """
    command = ["docker-compose", "--project-directory", str(project), "-f", str(ASTRO_CLI), "-f", OVERRIDE, "config"]
    environment = dict(os.environ) if environment is None else environment
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ComposeError(ended.stderr)
    return yaml.safe_load(ended.stdout)


@dataclass(frozen=True)
class Container:
    """One service of the merged file, translated to this machine."""

    name: str
    service: dict[str, Any]
    host: str
    paths: dict[str, str]
    hosts: dict[str, str] = field(repr=False)

    @property
    def image(self) -> str:
        """The image without its registry and tag, such as ``minio``."""
        return self.service["image"].rpartition(":")[0].rpartition("/")[2]

    @property
    def command(self) -> list[str]:
        """The arguments that the container starts with."""
        return [self.translate(part) for key in ("entrypoint", "command") for part in _words(self.service.get(key))]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the file and ``.env`` set, without null and empty ones."""
        given = self.service.get("environment", {})
        return {name: self.translate(str(value)) for name, value in given.items() if value not in (None, "")}

    @property
    def health_check(self) -> list[str]:
        """The command of the health check; empty if there is none."""
        test = self.service.get("healthcheck", {}).get("test", [])
        return [self.translate(part) for part in test[1:]]

    @property
    def waits_for(self) -> dict[str, str]:
        """The conditions of the services that it depends on, by name."""
        return {name: needed["condition"] for name, needed in self.service.get("depends_on", {}).items()}

    @property
    def is_task(self) -> bool:
        """Whether it runs once instead of serving."""
        return "restart" not in self.service

    def translate(self, text: str) -> str:
        """Return a text of the container with this machine's paths and addresses."""
        for path in sorted(self.paths, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?![\w.-])", self.paths[path], text)
        for name, host in self.hosts.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?=:\d{{4,5}}(?!\w))", host, text)
        return re.sub(r"\b(0\.0\.0\.0|127\.0\.0\.1)\b", self.host, text)


def containers(project: Path, volumes: Path, environment: dict[str, str] | None = None) -> Iterator[Container]:
    """Yield the services in the order of their dependencies.

    :param project: folder of the file's relative paths
    :param volumes: folder with one folder for each named volume
    """
    services = {
        name: service
        for name, service in merged(project, environment)["services"].items()
        if not service.get("profiles")  # services with a profile start on demand only
    }
    network = f"127.{random.randint(2, 254)}.{random.randint(0, 254)}"  # not a secret: two rehearsals may run at once
    hosts = {name: f"{network}.{number}" for number, name in enumerate(services, start=1)}
    made = {
        name: Container(name, service, hosts[name], dict(_mounts(service, volumes)), hosts)
        for name, service in services.items()
    }
    done: set[str] = set()
    while len(done) < len(made):
        for name, container in made.items():
            if name not in done and done.issuperset(container.waits_for):
                done.add(name)
                yield container


def _mounts(service: dict[str, Any], volumes: Path) -> Iterator[tuple[str, str]]:
    for mount in service.get("volumes", []):
        source, target = (mount["source"], mount["target"]) if isinstance(mount, dict) else mount.split(":")[:2]
        yield target, source if source.startswith("/") else str(volumes / source)


def _words(value: str | list[str] | None) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else value or []
