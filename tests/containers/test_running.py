"""The containers of ``astro dev start`` on a real engine: ``make containers``."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest
from botocore.exceptions import ClientError
from dotenv import dotenv_values
from rich.console import Console
from rich.table import Table

from containers.make_env import main as make_env
from include.problem import PROBLEM
from include.settings import DATA_BUCKET
from local.demo import DAGS
from local.settings import PROJECT, Settings
from tests import waiting
from tests.airflow import Airflow
from tests.containers.compose import Compose, ComposeError, docker
from tests.end_to_end.conftest import paused
from tests.watching import watched

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(
        "DOCKER_HOST" not in os.environ,
        reason="needs an engine: make containers starts one on Linux as root; elsewhere set DOCKER_HOST",
    ),
]

IMAGE = "project_123abc/airflow:latest"  # of tests/containers/astro_cli.yml
AIRFLOW = ["api-server", "dag-processor", "scheduler", "triggerer"]
ONCE = ["db-migration", "minio-accounts", "mlflow-accounts", "mlflow-packages", "secrets"]
CHECKED = ["api-server", "minio", "mlflow", "postgres", "serve"]
SOMEBODY = 1234  # the owner of the project on this machine, another user than in the containers
ASTRO, NOBODY = 50000, 10001  # users of the runtime's image, and of the services without privileges
COPIED = ["dags", "include", "containers", "tests/dags", ".astro", "local/requirements"]
COPIED += ["docker-compose.override.yml", ".env_example", "Dockerfile", ".dockerignore"]
COPIED += ["requirements.txt", "packages.txt", "pyproject.toml"]
wait_until = partial(waiting.wait_until, timeout=120)  # seconds
OPERATIONS = (PROJECT / "docs/operations.md").read_text()


@dataclass(frozen=True)
class Started(Settings):
    """The running containers, as settings of the REST client."""

    def secrets(self) -> dict[str, str]:
        """Return the password of Airflow's user."""
        return {"AIRFLOW_PASSWORD": str(dotenv_values(self.project / ".env")["AIRFLOW_ADMIN_PASSWORD"])}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a generated ``.env``, owned by an ordinary user of this machine."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        skipped = shutil.ignore_patterns("__pycache__", "plots")
        shutil.copytree(source, target, ignore=skipped) if source.is_dir() else shutil.copy(source, target)
    (folder / "plugins").mkdir()
    make_env(folder)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, SOMEBODY, SOMEBODY)
    return folder


@pytest.fixture(scope="module")
def compose(project: Path) -> Iterator[Compose]:
    """Compose with the project's images built; at the end nothing of it is left."""
    docker("build", "--tag", IMAGE, str(project))  # as the Astro CLI does
    docker("tag", IMAGE, "possums-serve")
    compose = Compose(project, variables={"S3_SERVER": "seaweedfs"}, added=("serve.yml",))
    yield compose
    replace(compose, added=("serve.yml", "celery.yml")).run("down", "--volumes", "--timeout", "1")
    own = ("--quiet", "--filter", f"label=com.docker.compose.project={compose.name}")
    assert docker("ps", "--all", *own) + docker("volume", "ls", *own) + docker("network", "ls", *own) == ""


@pytest.fixture(scope="module")
def commands() -> Iterator[set[str]]:
    """The command lines of all processes, collected from before the first container starts."""
    with watched(psutil.process_iter) as seen:
        yield seen


@pytest.fixture(scope="module")
def services(compose: Compose, commands: set[str]) -> dict[str, Any]:
    """The services as written, after all of them started."""
    started = time.monotonic()
    compose.up()
    print_table(f"Services, healthy after {time.monotonic() - started:.0f} s", compose.states())
    return compose.config()["services"]


@pytest.fixture(scope="module")
def airflow(services: dict[str, Any], project: Path) -> Airflow:
    airflow = Airflow(Started(project=project))
    airflow.wait_for_dags(DAGS)
    return airflow


@pytest.fixture(scope="module")
def runs(airflow: Airflow) -> dict[str, str]:
    """The states of the four runs, by DAG."""
    return run_dags(airflow)


def run_dags(airflow: Airflow) -> dict[str, str]:
    states, lines = {}, {}
    for dag_id, run_id in airflow.run_chain(DAGS):
        states[dag_id] = airflow.wait(dag_id, run_id)
        lines[dag_id] = f"{states[dag_id]} in {airflow.run(dag_id, run_id)['duration']:.1f} s"
    print_table("DAG runs", lines)
    return states


def print_table(title: str, lines: dict[str, str]) -> None:
    table = Table("", "", title=title, show_header=False, title_justify="left")
    for name, value in lines.items():
        table.add_row(name, value)
    Console().print(table)


@pytest.fixture(scope="module")
def secrets(compose: Compose, services: dict[str, Any]) -> dict[str, str]:
    """Every secret: the passwords of ``.env``, and each long word with a digit in the services' own volumes."""
    given = dotenv_values(compose.project / ".env")
    found = {"AIRFLOW_ADMIN_PASSWORD": str(given["AIRFLOW_ADMIN_PASSWORD"])}
    for name in ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"):
        found[name] = json.loads(str(given[name]))["password"]
    names = ("airflow", "mlflow", "postgres", "s3", "serve")
    volumes = [f"--volume={compose.name}_secrets_{name}:/{name}" for name in names]
    text = docker("run", "--rm", *volumes, services["secrets"]["image"], "sh", "-c", f"cat /{'/* /'.join(names)}/*")
    words = [word for word in re.findall(r"[\w-]{20,}=*", text) if any(map(str.isdigit, word))]
    assert len(words) > 12
    return found | {f"generated {number}": word for number, word in enumerate(words)}


def leaks(secrets: dict[str, str], texts: dict[str, str]) -> list[tuple[str, str]]:
    """Return each place that has a secret, with the secret's name."""
    return [(place, name) for place, text in texts.items() for name, secret in secrets.items() if secret in text]


# --- As they start -------------------------------------------------------------------------------------------------


def test_every_service_is_healthy_or_has_done_its_work(compose: Compose, services: dict[str, Any]) -> None:
    states = compose.states()
    assert {name: states[name] for name in ONCE} == dict.fromkeys(ONCE, "exited 0")
    assert {name: states[name] for name in CHECKED} == dict.fromkeys(CHECKED, "running healthy")
    assert {name: states[name].split()[0] for name in AIRFLOW} == dict.fromkeys(AIRFLOW, "running")
    assert len(states) == len({*ONCE, *CHECKED, *AIRFLOW})
    assert {name for name in states if compose.inspect(name)["RestartCount"]} == set()


@pytest.mark.parametrize(
    ("names", "user", "privileged"),
    [(AIRFLOW, ASTRO, True), (["serve"], ASTRO, False), (["mlflow"], NOBODY, False)],
    ids=["airflow", "serve", "mlflow"],
)
def test_processes_have_the_user_and_the_privileges_as_written(
    names: list[str], user: int, privileged: bool, compose: Compose, services: dict[str, Any]
) -> None:
    for name in names:
        status = dict(re.findall(r"^(\w+):\s+(\S+)", compose.execute(name, "cat", "/proc/1/status"), re.MULTILINE))
        assert status["Uid"] == str(user), name
        assert int(status["CapEff"], 16) == 0, name
        assert (int(status["CapBnd"], 16) != 0, status["NoNewPrivs"] == "0") == (privileged, privileged), name


def test_the_secrets_service_has_no_network(compose: Compose, services: dict[str, Any]) -> None:
    assert set(compose.inspect("secrets")["NetworkSettings"]["Networks"]) == {"none"}


@pytest.mark.parametrize("service", ["mlflow", "serve"])
def test_the_root_file_system_is_read_only_except_for_temporary_files(
    service: str, compose: Compose, services: dict[str, Any]
) -> None:
    compose.execute(service, "touch", "/tmp/file")  # noqa: S108
    for path in ("/file", "/usr/file", "/var/tmp/file"):  # noqa: S108
        with pytest.raises(ComposeError, match="Read-only file system"):
            compose.execute(service, "touch", path, user="0")


def test_memory_is_limited_as_written(compose: Compose, services: dict[str, Any]) -> None:
    read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    for name in (*CHECKED, *AIRFLOW):
        written = services[name]["deploy"]["resources"]["limits"]["memory"]
        assert compose.execute(name, "sh", "-c", read).strip() == written, name


def test_only_the_published_ports_answer_and_only_on_loopback(compose: Compose, services: dict[str, Any]) -> None:
    published = {}
    for name in compose.states():
        for bindings in compose.inspect(name)["NetworkSettings"]["Ports"].values():
            published |= {int(one["HostPort"]): (name, one["HostIp"]) for one in bindings or []}
    expected = {5000: "mlflow", 5002: "serve", 5432: "postgres", 8080: "api-server", 9000: "minio"}
    assert published == {port: (name, "127.0.0.1") for port, name in expected.items()}
    for port in published.keys() - {5432}:
        assert httpx.get(f"http://127.0.0.1:{port}").status_code in (200, 401, 403), port  # something listens


# --- The DAGs ------------------------------------------------------------------------------------------------------


def test_the_dags_run_end_to_end(runs: dict[str, str], project: Path) -> None:
    assert runs == dict.fromkeys(DAGS, "success")
    picture = project / "include/plots" / PROBLEM.picture
    assert picture.stat().st_uid == ASTRO
    assert picture.stat().st_size > 10_000


def test_airflow_and_mlflow_keep_their_data_in_postgresql(compose: Compose, runs: dict[str, str]) -> None:
    assert query(compose, "mlflow", "SELECT count(*) FROM registered_models") == "1"
    ran = "SELECT count(DISTINCT dag_id) FROM dag_run WHERE state = 'success' AND run_type <> 'scheduled'"
    assert query(compose, "postgres", ran) == str(len(DAGS))


def test_the_environments_of_models_are_in_a_volume(compose: Compose, runs: dict[str, str]) -> None:
    assert environments(compose)
    mounts = {mount["Destination"]: mount for mount in compose.inspect("scheduler")["Mounts"]}
    assert mounts["/usr/local/airflow/model_environments"]["Type"] == "volume"


def test_the_model_server_answers_with_the_champion(compose: Compose, runs: dict[str, str]) -> None:
    wait_until(lambda: served() == "1", timeout=30)
    log = compose.run("logs", "--no-log-prefix", "serve")
    assert "Version 1 answers from now on" in log
    assert "Warning" not in log
    assert len(log.splitlines()) < 20


def test_the_model_server_needs_its_token(compose: Compose, services: dict[str, Any]) -> None:
    token = compose.execute("serve", "cat", "/secrets/serve/token")
    answers = [
        httpx.get("http://127.0.0.1:5002/metrics", headers={"Authorization": f"Bearer {word}"}).status_code
        for word in ("another", token)
    ]
    assert answers == [401, 200]


def served() -> str | None:
    """Return the version that the model server answers with."""
    return httpx.get("http://127.0.0.1:5002/ping", timeout=20).headers.get("X-Model-Version")


def environments(compose: Compose) -> str:
    """Return the environments of models in the scheduler, with the times at which they were built."""
    listed = compose.execute(
        "scheduler", "sh", "-c", "stat -c '%n %W %Y' /usr/local/airflow/model_environments/*/pyvenv.cfg"
    )
    return listed.strip()


def query(compose: Compose, database: str, statement: str) -> str:
    command = ["psql", "--username", "postgres", "--dbname", database, "--tuples-only", "--no-align", "-c", statement]
    return compose.execute("postgres", *command).strip()


# --- Logins and secrets --------------------------------------------------------------------------------------------


def test_mlflow_refuses_requests_without_a_login(services: dict[str, Any]) -> None:
    for path in ("/", "/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow-artifacts/artifacts"):
        assert httpx.get(f"http://127.0.0.1:5000{path}").status_code == 401, path


def test_airflows_mlflow_user_is_not_an_administrator(project: Path, services: dict[str, Any]) -> None:
    login = connection(project, "MLFLOW")
    user = {"username": "another", "password": "a long enough password"}
    answer = httpx.post(
        "http://127.0.0.1:5000/api/2.0/mlflow/users/create", json=user, auth=(login["login"], login["password"])
    )
    assert answer.status_code == 403


def test_airflow_refuses_requests_without_a_login(services: dict[str, Any]) -> None:
    assert httpx.get("http://127.0.0.1:8080/api/v2/dags").status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert httpx.post("http://127.0.0.1:8080/auth/token", json=wrong).status_code == 401


def test_s3_refuses_a_wrong_key_and_mlflows_key_reads_its_own_bucket_only(
    compose: Compose, runs: dict[str, str]
) -> None:
    key = compose.execute("minio", "cat", "/secrets/s3/mlflow.key").split()
    s3_client(*key).list_objects_v2(Bucket=PROBLEM.artifact_bucket)
    for wrong, bucket in ((key, DATA_BUCKET), ([key[0], "wrong"], PROBLEM.artifact_bucket)):
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied|InvalidAccessKeyId"):
            s3_client(*wrong).list_objects_v2(Bucket=bucket)


def s3_client(key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9000",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
    )


def connection(project: Path, name: str) -> dict[str, str]:
    return json.loads(str(dotenv_values(project / ".env")[f"AIRFLOW_CONN_{name}_DEFAULT"]))


def test_the_engine_shows_secrets_only_in_the_connections_that_the_cli_passes_on(
    compose: Compose, secrets: dict[str, str], runs: dict[str, str]
) -> None:
    texts = {}
    for name in compose.states():
        found = compose.inspect(name)
        passed_on = [text for text in found["Config"]["Env"] if text.startswith("AIRFLOW_CONN_") and name in AIRFLOW]
        found["Config"]["Env"] = [text for text in found["Config"]["Env"] if text not in passed_on]
        assert (len(passed_on) == 2) == (name in AIRFLOW)
        texts[name] = json.dumps(found)
    texts["image"] = docker("image", "inspect", IMAGE) + docker("image", "history", "--no-trunc", IMAGE)
    assert leaks(secrets, texts) == []


def test_no_secret_is_in_the_environment_of_airflows_processes_beside_the_connections(
    compose: Compose, secrets: dict[str, str], services: dict[str, Any]
) -> None:
    texts = {}
    for name in AIRFLOW:
        variables = compose.execute(name, "cat", "/proc/1/environ").split("\0")
        texts[name] = "\n".join(text for text in variables if not text.startswith("AIRFLOW_CONN_"))
        assert "AIRFLOW__CORE__FERNET_KEY=" not in texts[name]  # the CLI's own, which every project has
    assert leaks(secrets, texts) == []


def test_no_secret_is_in_logs_or_objects(compose: Compose, secrets: dict[str, str], runs: dict[str, str]) -> None:
    texts = {name: compose.run("logs", name) for name in compose.states()}
    texts["tasks"] = compose.execute("scheduler", "sh", "-c", "cat $(find /usr/local/airflow/logs -type f)")
    client = s3_client("airflow", connection(compose.project, "AWS")["password"])
    for bucket in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        for found in client.list_objects_v2(Bucket=bucket)["Contents"]:
            body = client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            texts[f"{bucket}/{found['Key']}"] = body.decode(errors="replace")
    assert len(texts) > 30
    assert len(texts["tasks"]) > 10_000
    assert leaks(secrets, texts) == []


def test_no_secret_is_in_airflows_database_or_mlflows(
    compose: Compose, secrets: dict[str, str], runs: dict[str, str]
) -> None:
    dumps = {
        name: compose.execute("postgres", "pg_dump", "--username", "postgres", "--dbname", name)
        for name in ("postgres", "mlflow")
    }
    assert "rendered_task_instance_fields" in dumps["postgres"]
    assert "registered_models" in dumps["mlflow"]
    assert leaks(secrets, dumps) == []


def test_no_secret_is_on_a_command_line(secrets: dict[str, str], runs: dict[str, str], commands: set[str]) -> None:
    seen = commands.copy()
    for passing in ("mlflow_accounts.py", "weed server", "airflow scheduler", "model_environments"):
        assert any(passing in command for command in seen), passing
    assert leaks(secrets, {command: command for command in seen}) == []


# --- Faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["postgres", "minio", "mlflow", "scheduler", "serve"])
def test_a_killed_service_comes_back(service: str, compose: Compose, runs: dict[str, str]) -> None:
    before = compose.inspect(service)
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: compose.inspect(service)["RestartCount"] > before["RestartCount"])
    healthy = "running" if service in AIRFLOW else "running healthy"
    wait_until(lambda: compose.states()[service].startswith(healthy))


def test_a_run_survives_a_cut_network(compose: Compose, airflow: Airflow, runs: dict[str, str]) -> None:
    container, network = compose.inspect("minio")["Id"], f"{compose.name}_airflow"
    with paused(airflow, "train"):
        run_id = airflow.trigger("feature_eng")
        wait_until(lambda: any(task["state"] == "running" for task in airflow.tasks("feature_eng", run_id)))
        docker("network", "disconnect", network, container)
        wait_until(lambda: any(task["state"] == "up_for_retry" for task in airflow.tasks("feature_eng", run_id)))
        docker("network", "connect", "--alias", "minio", network, container)
        assert airflow.wait("feature_eng", run_id) == "success"


def test_databases_are_cleaned_as_documented(compose: Compose, runs: dict[str, str]) -> None:
    (clean,) = re.findall(r"`astro dev run (db clean .*?) <date>(.*?)`", OPERATIONS)
    compose.execute("scheduler", "airflow", *clean[0].split(), "2020-01-01", *clean[1].split())
    (collect,) = re.findall(r"exec mlflow (sh -c '.*?mlflow gc .*?')`", OPERATIONS)
    deleted = "SELECT count(*) FROM runs WHERE lifecycle_stage = 'deleted'"
    query(compose, "mlflow", "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = 1 WHERE name = 'Tuning'")
    assert query(compose, "mlflow", deleted) != "0"
    compose.execute("mlflow", *shlex.split(collect))
    assert query(compose, "mlflow", deleted) == "0"


@pytest.fixture(scope="module")
def built(compose: Compose, runs: dict[str, str]) -> str:
    """The environments of models after the first runs."""
    return environments(compose)


@pytest.fixture(scope="module")
def celery(compose: Compose, built: str) -> Compose:
    """All services, started again from a backup, with two Celery workers."""
    compose.run("down")
    for part in ("tar czf", "tar xzf"):  # each volume is emptied before it is restored
        (commands,) = (block for block in re.findall(r"```sh\n(.*?)```", OPERATIONS, re.DOTALL) if part in block)
        commands = re.sub(r"astro dev \w+\n", "", commands).replace("<name>", compose.name)
        subprocess.run(["bash", "-ec", commands], cwd=compose.project, check=True)
    docker("tag", IMAGE, "possums-worker")
    celery = replace(compose, added=(*compose.added, "celery.yml"))
    celery.up()
    return celery


def test_a_second_start_from_a_backup_loses_nothing(celery: Compose, secrets: dict[str, str], built: str) -> None:
    assert environments(celery) == built
    kept = celery.execute("scheduler", "sh", "-c", "cat /secrets/airflow/*")
    assert {name for name, word in secrets.items() if word in kept}
    assert query(celery, "mlflow", "SELECT count(*) FROM registered_models") == "1"
    again = Airflow(Started(project=celery.project))
    assert {again.get(f"dags/{dag_id}/dagRuns")["dag_runs"][0]["state"] for dag_id in DAGS} == {"success"}
    wait_until(lambda: served() == "1", timeout=30)


def test_tasks_run_on_two_celery_workers_and_survive_the_end_of_one(celery: Compose) -> None:
    airflow = Airflow(Started(project=celery.project))
    assert run_dags(airflow) == dict.fromkeys(DAGS, "success")
    last = [airflow.get(f"dags/{dag_id}/dagRuns", order_by="-start_date")["dag_runs"][0] for dag_id in DAGS]
    tasks = [task for run in last for task in airflow.tasks(run["dag_id"], run["dag_run_id"])]
    assert len({task["hostname"] for task in tasks if task["hostname"]}) == 2

    with paused(airflow, "train"):
        run_id = airflow.trigger("feature_eng")
        wait_until(lambda: bool(hosts_running(airflow, run_id, "build_features")))
        (host,) = hosts_running(airflow, run_id, "build_features")
        docker("kill", host.partition(".")[0])
        assert airflow.wait("feature_eng", run_id) == "success"


def hosts_running(airflow: Airflow, run_id: str, task_id: str) -> list[str]:
    """Return the host of a task that runs now: name or id of a container."""
    tasks = airflow.tasks("feature_eng", run_id)
    return [task["hostname"] for task in tasks if task["task_id"] == task_id and task["state"] == "running"]


def test_a_copied_example_starts_on_this_machine_only(compose: Compose, celery: Compose) -> None:
    celery.run("down", "--timeout", "1")
    volumes = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={compose.name}").split()
    docker("volume", "rm", *(name for name in volumes if not name.endswith(("_packages", "_environments"))))
    shutil.copy(compose.project / ".env_example", compose.project / ".env")
    elsewhere = Compose(compose.project, compose.name, {"PUBLISH_ADDRESS": "0.0.0.0"})  # noqa: S104
    with pytest.raises(ComposeError, match=r"secrets \(exited 1\):\nRefused: .* Run `make env`"):
        elsewhere.up("postgres")
    compose.up()
    assert Airflow(Started(project=compose.project)).get("dags", limit=1)["total_entries"] > 0


def test_no_s3_server_means_no_port(compose: Compose, project: Path) -> None:
    without = Compose(project, "without", {"S3_SERVER": "none"})
    try:
        without.up("minio-accounts")
        assert without.states() == {"minio": "running healthy", "minio-accounts": "exited 0", "secrets": "exited 0"}
        assert not any(without.inspect("minio")["NetworkSettings"]["Ports"].values())
    finally:
        without.run("down", "--volumes")


# --- Health checks -------------------------------------------------------------------------------------------------


@pytest.fixture
def container() -> Iterator[Callable[..., str]]:
    """Start a container that the test ends with, and return its id."""
    started: list[str] = []

    def run(*arguments: str) -> str:
        started.append(docker("run", "--detach", *arguments).strip())
        return started[-1]

    yield run
    docker("rm", "--force", "--volumes", *started)


def is_healthy(container: str, service: dict[str, Any]) -> bool:
    """Run a service's health check in a container."""
    kind, *command = service["healthcheck"]["test"]
    command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
    return succeeds("exec", container, *command)


def succeeds(*arguments: str) -> bool:
    try:
        docker(*arguments)
    except ComposeError:
        return False
    return True


def test_a_database_server_without_mlflows_databases_is_not_healthy(
    services: dict[str, Any], container: Callable[..., str]
) -> None:
    server = container("--env", "POSTGRES_PASSWORD=x", services["postgres"]["image"])
    wait_until(lambda: succeeds("exec", server, "pg_isready", "--host", "127.0.0.1"))
    assert not is_healthy(server, services["postgres"])
    for statement in ("CREATE ROLE mlflow LOGIN", "CREATE DATABASE mlflow_auth OWNER mlflow"):
        docker("exec", server, "psql", "--username", "postgres", "--command", statement)
    assert is_healthy(server, services["postgres"])


def test_an_s3_server_without_a_free_volume_is_not_healthy(
    services: dict[str, Any], container: Callable[..., str]
) -> None:
    minio = services["minio"]
    command = "mkdir -p /data && exec weed server -dir=/data -volume.max=7 -s3 -s3.port=9000"
    server = container("--entrypoint", "sh", minio["image"], "-c", command)
    wait_until(lambda: is_healthy(server, minio))
    docker("exec", server, "wget", "-q", "-O", "-", "http://127.0.0.1:9333/vol/grow?collection=full&count=7")
    wait_until(lambda: not is_healthy(server, minio), timeout=30)
