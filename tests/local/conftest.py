"""Stacks of their own for tests and modules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from local.settings import temporary
from local.stack import Stack


def s3(stack: Stack, owner: str = "", **other_keys: str) -> Any:
    secret = stack.settings.secrets()
    keys = {
        "aws_access_key_id": secret[f"{owner}S3_ACCESS_KEY"],
        "aws_secret_access_key": secret[f"{owner}S3_SECRET_KEY"],
    }
    return boto3.client("s3", endpoint_url=stack.settings.url("s3"), region_name="us-east-1", **keys | other_keys)


def kill_supervisor(stack: Stack) -> None:
    supervisor = stack.find_supervisor()
    assert supervisor
    supervisor.kill()
    psutil.wait_procs([supervisor], timeout=10)


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, which is stopped at the end."""
    stack = Stack(temporary(tmp_path))
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """S3 and MLflow of a stack of its own, with Airflow's connections to them and the bucket of data."""
    stack = Stack(temporary(tmp_path_factory.mktemp("running")))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"):
            patch.setenv(name, stack.settings.environment()[name])
        try:
            stack.start(["s3", "mlflow"])
            s3(stack).create_bucket(Bucket="data")
            yield stack
        finally:
            stack.stop()
