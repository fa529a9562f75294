"""One stack of real services for the whole suite: free ports, temporary data, the project's own code."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    from local.stack import Stack
    from tests.airflow import Airflow

CONNECTIONS = ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT")


def pytest_configure(config: pytest.Config) -> None:
    """Ignore a warning of Airflow's; in pyproject.toml, it would make pytest import Airflow before this file."""
    # skops inspects every loaded module, and Airflow's deprecated ones warn each time.
    config.addinivalue_line("filterwarnings", "ignore::airflow.utils.deprecation_tools.DeprecatedImportWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: _folder(item.nodeid) != "end_to_end")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a folder's tests in one process, which starts one stack for them."""
    from xdist.scheduler import LoadScopeScheduling

    class FolderScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _folder(nodeid)

    return FolderScheduling(config, log)


def _folder(nodeid: str) -> str:
    """Return the folder below ``tests`` that a test is in; the provider's are a folder of their own."""
    return "provider" if "/mlflow_provider/" in nodeid else nodeid.split("/")[1]


@pytest.fixture
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Takes lines, and prints them after an extended test."""
    lines: list[str] = []
    yield lines.append
    if request.node.get_closest_marker("extended"):
        with capsys.disabled():
            sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with S3 and MLflow running; stopped, with every process of it, at the end."""
    with run_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack
    assert not list(stack.processes())


@contextmanager
def run_stack(folder: Path) -> Iterator[Stack]:
    """Run S3 and MLflow with their data in a folder."""
    from local.settings import temporary
    from local.stack import Stack

    stack = Stack(temporary(folder))
    try:
        stack.start(["s3", "mlflow"])
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def services(stack: Stack) -> Iterator[dict[str, Any]]:
    """Connections ``mlflow_default`` and ``aws_default`` to the stack's services, in this process."""
    environment = stack.settings.environment()
    with pytest.MonkeyPatch.context() as patch:
        for name in CONNECTIONS:
            patch.setenv(name, environment[name])
        yield environment


@pytest.fixture(scope="session")
def buckets(services: dict[str, Any]) -> None:
    """The project's buckets, which the pipeline may have created before."""
    create_buckets()


def create_buckets() -> None:
    """Create the project's buckets where ``aws_default`` leads, if they do not exist."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from include.problem import PROBLEM
    from include.settings import AWS_CONN_ID, DATA_BUCKET, XCOM_BUCKET

    hook = S3Hook(AWS_CONN_ID)
    for bucket in (DATA_BUCKET, PROBLEM.artifact_bucket, XCOM_BUCKET):
        if not hook.check_for_bucket(bucket):
            hook.create_bucket(bucket)


@pytest.fixture(scope="session")
def airflow(stack: Stack) -> Airflow:
    """Airflow itself, running the stack's copy of the DAGs."""
    from tests.airflow import Airflow

    stack.start(["airflow"])
    return Airflow(stack.settings)
