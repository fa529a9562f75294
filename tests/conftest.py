"""One stack of real services for the whole suite: free ports, temporary data, the project's own code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
# Airflow reads these when it is first imported, before any fixture runs.
os.environ["AIRFLOW_HOME"] = _airflow_home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_airflow_home.name}/airflow.db"

if TYPE_CHECKING:  # the tests of the DAGs alone run where the local stack is not installed
    from local.airflow import Airflow
    from local.stack import Stack


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a folder's tests on one worker, which starts one stack for them, and begin with what takes longest."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_folder(item.path)))
    items.sort(key=lambda item: _folder(item.path) != "end_to_end")


def _folder(file: Path) -> str:
    parts = file.relative_to(Path(__file__).parent).parts
    return "provider" if "mlflow_provider" in parts else parts[0]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with S3 and MLflow running; stopped, with every process of it, at the end."""
    from local.settings import temporary
    from local.stack import Stack

    stack = Stack(temporary(tmp_path_factory.mktemp("stack")))
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
    from local.airflow import Airflow

    stack.start(["airflow"])
    return Airflow(stack.settings)
