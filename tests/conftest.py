"""One stack of real services for the whole suite: free ports, temporary data, the project's own code."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
# Airflow reads these when it is first imported, before any fixture runs.
os.environ["AIRFLOW_HOME"] = _airflow_home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_airflow_home.name}/airflow.db"

from local.airflow import Airflow  # noqa: E402
from local.settings import PROJECT, Settings  # noqa: E402
from local.stack import Stack  # noqa: E402


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; all are held at once, so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def make_settings(folder: Path) -> Settings:
    """Return the settings of a stack in ``folder``, on free ports, with its own copy of the project."""
    project = folder / "project"
    for name in ("dags", "include"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "plots"))
    ports = dict(zip(("S3_PORT", "MLFLOW_PORT", "AIRFLOW_PORT"), free_ports(3), strict=True))
    return Settings(project=project, home=folder / "home", ports=ports)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with S3 and MLflow running; stopped, with every process of it, at the end."""
    stack = Stack(make_settings(tmp_path_factory.mktemp("stack")))
    try:
        stack.start(["s3", "mlflow"])
        yield stack
    finally:
        stack.stop()
    assert not list(stack.processes())


@pytest.fixture(scope="session")
def services(stack: Stack) -> Iterator[dict[str, Any]]:
    """Connections ``mlflow_default`` and ``aws_default`` to the stack's services, in this process."""
    environment = stack.settings.environment()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"):
            patch.setenv(name, environment[name])
        yield environment


@pytest.fixture(scope="session")
def airflow(stack: Stack) -> Airflow:
    """Airflow itself, running the stack's copy of the DAGs."""
    stack.start(["airflow"])
    return Airflow(stack.settings)
