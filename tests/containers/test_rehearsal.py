"""The containers of ``astro dev start``, run as processes: the DAGs run on them, and no secret leaks."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from include.problem import PROBLEM
from include.settings import DATA_BUCKET
from local.demo import DAGS, run_demo
from local.settings import ENVIRONMENTS, PROJECT
from tests.containers.rehearsal import Rehearsal, Rehearsed
from tests.watching import watched

HAS_POSTGRESQL = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = pytest.mark.skipif(
    not (shutil.which("docker-compose") and HAS_POSTGRESQL),
    reason="needs Debian's docker-compose and postgresql, which .ci/run installs",
)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder, temporary = tmp_path_factory.mktemp("rehearsal"), Path(gettempdir())
    own = [parent for parent in (folder, *folder.parents) if parent != temporary and temporary in parent.parents]
    for parent in own:
        parent.chmod(0o755)  # PostgreSQL runs as another user
    rehearsal = Rehearsal(folder)
    yield rehearsal
    rehearsal.stop()
    assert not list(rehearsal.processes())


@pytest.fixture(scope="module")
def commands(rehearsal: Rehearsal) -> Iterator[set[str]]:
    """The command lines of all processes, collected from before the first one starts."""
    with watched(rehearsal.processes) as seen:
        yield seen


@pytest.fixture(scope="module")
def stack(rehearsal: Rehearsal, commands: set[str]) -> Rehearsed:
    return rehearsal.start()


@pytest.fixture(scope="module")
def printed(rehearsal: Rehearsal, stack: Rehearsed) -> Iterator[str]:
    """The output of the demonstration."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in rehearsal.environment().items():
            patch.setenv(name, value)
        console = Console(record=True, width=200, file=(rehearsal.logs / "demo.log").open("w"))
        run_demo(stack, console)
        yield console.export_text()


def mlflow_login(rehearsal: Rehearsal) -> tuple[str, str]:
    connection = json.loads(rehearsal.environment()["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    return connection["login"], connection["password"]


def test_the_dags_run_end_to_end(printed: str, stack: Rehearsed) -> None:
    assert f"{PROBLEM.registered_model} version 1" in printed
    plots = stack.project / "include/plots"
    assert (plots / PROBLEM.picture).exists()
    assert stat.S_IMODE(plots.stat().st_mode) == 0o777  # in containers, the tasks run as another user


def test_airflow_and_mlflow_keep_their_data_in_postgresql(rehearsal: Rehearsal, printed: str) -> None:
    assert "postgresql" in (rehearsal.volumes / "secrets_airflow/database_url").read_text()
    assert not list(rehearsal.home.rglob("*.db"))
    assert query(rehearsal, "mlflow", "SELECT count(*) FROM registered_models") == "1"
    ran = "SELECT count(DISTINCT dag_id) FROM dag_run WHERE state = 'success' AND run_type <> 'scheduled'"
    assert query(rehearsal, "postgres", ran) == str(len(DAGS))


def test_mlflow_refuses_requests_without_a_login(stack: Rehearsed) -> None:
    for path in ("/", "/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow-artifacts/artifacts"):
        assert httpx.get(f"{stack.mlflow_url}{path}").status_code == 401, path


def test_airflows_mlflow_user_is_not_an_administrator(rehearsal: Rehearsal, stack: Rehearsed) -> None:
    user = {"username": "another", "password": "a long enough password"}
    answer = httpx.post(f"{stack.mlflow_url}/api/2.0/mlflow/users/create", json=user, auth=mlflow_login(rehearsal))
    assert answer.status_code == 403


def test_airflow_refuses_requests_without_a_login(stack: Rehearsed) -> None:
    assert httpx.get(f"{stack.airflow_url}/api/v2/dags").status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert httpx.post(f"{stack.airflow_url}/auth/token", json=wrong).status_code == 401


def test_s3_refuses_a_wrong_key(stack: Rehearsed) -> None:
    client = boto3.client(
        "s3", endpoint_url=stack.s3_url, aws_access_key_id="airflow", aws_secret_access_key="wrong", region_name="x"
    )
    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied|InvalidAccessKeyId"):
        client.list_objects_v2(Bucket=DATA_BUCKET)


def test_no_secret_is_in_logs_objects_or_the_repository(rehearsal: Rehearsal, stack: Rehearsed, printed: str) -> None:
    places = [path for folder in ("logs", "airflow", "volumes/s3_data") for path in (stack.home / folder).rglob("*")]
    history = subprocess.run(["git", "log", "-p", "--all"], cwd=PROJECT, capture_output=True, check=False).stdout
    texts = {str(path): path.read_bytes() for path in places if path.is_file()} | {"git history": history}
    assert len(texts) > 20
    for name, secret in stack.secrets().items():
        assert [place for place, text in texts.items() if secret.encode() in text] == [], name


def test_no_secret_is_in_airflows_database_or_mlflows(rehearsal: Rehearsal, stack: Rehearsed, printed: str) -> None:
    for database, kept in (("postgres", "rendered_task_instance_fields"), ("mlflow", "registered_models")):
        dump = run_with_database(rehearsal, ["pg_dump", "--username", "postgres", "--dbname", database])
        assert kept in dump
        assert [name for name, secret in stack.secrets().items() if secret in dump] == []


def test_no_secret_is_on_a_command_line(stack: Rehearsed, printed: str, commands: set[str]) -> None:
    seen = commands.copy()
    for passing in ("initdb", "mlflow_accounts.py", str(ENVIRONMENTS / "models")):
        assert any(passing in command for command in seen), passing
    assert [name for name, secret in stack.secrets().items() if any(secret in command for command in seen)] == []


def query(rehearsal: Rehearsal, database: str, statement: str) -> str:
    command = ["psql", "--username", "postgres", "--dbname", database, "--tuples-only", "--no-align", "-c", statement]
    return run_with_database(rehearsal, command).strip()


def run_with_database(rehearsal: Rehearsal, command: list[str]) -> str:
    password = (rehearsal.volumes / "secrets_postgres/password").read_text()
    programs = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    environment = {
        "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
        "PGHOST": rehearsal.containers["postgres"].host,
        "PGPASSWORD": password,
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
