"""The compose file, merged with the one that the Astro CLI generates."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
from dotenv import dotenv_values
from mlflow import environment_variables

from containers import make_env
from containers.write_secrets import AWS_CONNECTION, MLFLOW_CONNECTION, login, read_settings
from include.problem import PROBLEM
from include.settings import DATA_BUCKET, HEAVY_TASKS, XCOM_BUCKET
from local.settings import PROJECT
from tests.containers.compose import Compose, ComposeError

OVERRIDE = (PROJECT / "docker-compose.override.yml").read_text()
AIRFLOW = ["scheduler", "dag-processor", "api-server", "triggerer"]
CONNECTIONS = [AWS_CONNECTION, MLFLOW_CONNECTION]  # SECURITY.md names the exception
SERVING = ["postgres", "minio", "mlflow", "api-server", "serve"]
SERVING += ["openmetadata-postgres", "openmetadata-search", "openmetadata", "redis", "worker"]
ADDED = ("openmetadata.yml", "celery.yml", "serve.yml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that Compose reads and a generated ``.env``."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("docker-compose.override.yml", ".env_example"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "containers", folder / "containers")
    make_env.main(folder)
    return folder


@pytest.fixture(scope="module", params=["minio", "rustfs", "seaweedfs", "none"])
def services(request: pytest.FixtureRequest, project: Path) -> dict[str, Any]:
    return merged(project, ADDED, S3_SERVER=request.param)


def merged(project: Path, added: tuple[str, ...] = (), **variables: str) -> dict[str, Any]:
    return Compose(project, variables=variables, added=added).config()["services"]


def secrets_of(project: Path) -> dict[str, str]:
    given = read_settings(project / ".env")
    return {name: login(given, name)[1] for name in CONNECTIONS} | {"admin": given["AIRFLOW_ADMIN_PASSWORD"]}


def test_every_image_is_pinned_or_built_from_the_projects_own_file(services: dict[str, Any], project: Path) -> None:
    own = {"project_123abc/airflow:latest"}  # built by the Astro CLI
    built = {name: service for name, service in services.items() if "build" in service}
    assert [(name, service["build"]["context"]) for name, service in built.items()] == [
        ("serve", str(project)),
        ("worker", str(project)),
    ]
    images = {service["image"] for name, service in services.items() if name not in built} - own
    assert all(re.search(r":[A-Za-z.-]*\d[\w.-]*$", image) for image in images), images


def test_every_published_port_is_on_loopback(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {int(port["published"]) for port in ports} - {9000, 9001} == {5000, 5002, 5432, 8080, 8585}


@pytest.mark.parametrize(
    ("server", "expected"),
    [("minio", ["9000", "9001"]), ("rustfs", ["9000", "9001"]), ("seaweedfs", ["9000"]), ("none", [])],
)
def test_an_s3_server_publishes_the_ports_that_it_listens_on(server: str, expected: list[str], project: Path) -> None:
    assert [port["published"] for port in merged(project, S3_SERVER=server)["minio"].get("ports", [])] == expected


def test_every_server_has_a_health_check(services: dict[str, Any]) -> None:
    assert [name for name in SERVING if not services[name].get("healthcheck", {}).get("test")] == []
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] in ("service_healthy", "service_completed_successfully"), (name, needed)


def mounts_of(service: dict[str, Any], kind: str) -> dict[str, str]:
    """Return the paths in a service's container, by volume or by path on this machine."""
    return {mount["source"]: mount["target"] for mount in service.get("volumes", []) if mount["type"] == kind}


def test_mounted_files_are_tracked_by_git(services: dict[str, Any], project: Path) -> None:
    paths = {path for service in services.values() for path in mounts_of(service, "bind")}
    mounted = {Path(path).relative_to(project) for path in paths} - {Path("plugins")}  # the CLI's, mostly empty
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    tracked = {path for line in listed.splitlines() for path in (Path(line), *Path(line).parents)}
    assert len(mounted) > 5
    assert mounted <= tracked  # Compose creates a folder that belongs to root in place of a missing file


def test_memory_and_processors_are_limited(services: dict[str, Any]) -> None:
    for name in ("minio", "mlflow", "serve", "redis", "openmetadata-postgres", "openmetadata-search", "openmetadata"):
        assert services[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    for name in ("postgres", "worker", *AIRFLOW):
        assert services[name]["deploy"]["resources"]["limits"].keys() == {"memory"}


def test_the_clis_default_secrets_are_removed(services: dict[str, Any]) -> None:
    removed = ["API__SECRET_KEY", "API_AUTH__JWT_SECRET", "CORE__FERNET_KEY", "WEBSERVER__SECRET_KEY"]
    removed += ["CORE__SQL_ALCHEMY_CONN", "DATABASE__SQL_ALCHEMY_CONN"]
    for service in (*AIRFLOW, "db-migration"):
        environment = services[service]["environment"]
        assert [environment[f"AIRFLOW__{name}"] for name in removed] == [None] * 6
        assert environment["AIRFLOW_ADMIN_PASSWORD"] == ""
        assert environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"


def test_compose_prints_passwords_only_in_the_connections_that_the_cli_passes_on(project: Path) -> None:
    services = merged(project)
    passed_on = [services[name]["environment"].pop(connection) for name in AIRFLOW for connection in CONNECTIONS]
    printed = yaml.safe_dump(services)
    assert all(passed_on)
    assert [name for name, secret in secrets_of(project).items() if secret in printed] == []
    assert "postgres:postgres@" not in printed
    assert not re.search(r"(?i)(password|secret|key): (?!null|''|/|cat )\S", printed)


def test_containers_without_need_for_privileges_have_none(services: dict[str, Any]) -> None:
    for name in ("mlflow", "mlflow-accounts", "minio-accounts", "redis"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name]["user"] == "10001:10001"


def test_secrets_are_mounted_only_where_they_are_needed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        secret = {volume for volume in mounts_of(service, "volume") if volume.startswith("secrets_")}
        group = name.removesuffix("-accounts")
        expected = {"postgres": "postgres", "minio": "s3", "mlflow": "mlflow", "serve": "serve"}.get(group, "airflow")
        expected = "openmetadata" if name.startswith("openmetadata") else expected
        if name in ("redis", "worker", "scheduler", "api-server", "triggerer", "celery-secrets"):
            secret -= {"secrets_celery"}
        if name in ("worker", "scheduler"):
            secret -= {"secrets_serve"}  # for the smoke test
        assert secret <= {f"secrets_{expected}"} or name == "secrets", name
    assert "secrets_airflow" not in mounts_of(services["worker"], "volume")  # tasks use Airflow's API


def test_openmetadata_has_a_file_of_its_own_and_no_other_service_needs_it(services: dict[str, Any]) -> None:
    own = {name: service for name, service in services.items() if name.startswith("openmetadata")}
    assert len(own) == 5
    (port,) = own["openmetadata"]["ports"]
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", "8585")
    elsewhere = [needed for name in services.keys() - own for needed in services[name].get("depends_on", {})]
    assert not set(elsewhere) & set(own)


def test_the_model_server_starts_on_demand_without_privileges(services: dict[str, Any]) -> None:
    serve = services["serve"]
    assert not [name for name, service in services.items() if "serve" in service.get("depends_on", {})]
    assert [(port["host_ip"], port["published"]) for port in serve["ports"]] == [("127.0.0.1", "5002")]
    assert (serve["cap_drop"], serve["user"], serve["read_only"]) == (["ALL"], "astro", True)
    assert serve["security_opt"] == ["no-new-privileges:true"]
    assert "env_file" not in serve


def test_the_scheduler_has_the_address_of_the_model_server(services: dict[str, Any]) -> None:
    listens = services["serve"]["environment"]
    assert services["scheduler"]["environment"]["MODEL_SERVER"] == f"http://serve:{listens['SERVE_PORT']}"
    assert listens["SERVE_HOST"] == "0.0.0.0"  # noqa: S104 # within its own container
    tokens = {services[name]["environment"]["SERVE_TOKEN_FILE"] for name in ("serve", "scheduler", "worker")}
    assert tokens == {"/secrets/serve/token"}
    assert listens["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_settings_reach_the_model_server(project: Path) -> None:
    given = {"MAX_REQUEST_MB": "3", "MAX_REQUEST_ROWS": "7", "SERVE_SECONDS": "5"}
    serve = merged(project, ("serve.yml",), **given, SERVE_HOSTS="one.example,two")["serve"]
    assert (given | {"SERVE_HOSTS": "serve,one.example,two"}).items() <= serve["environment"].items()


def test_tasks_run_in_workers_with_the_code_read_only(project: Path) -> None:
    services = merged(project, ("celery.yml",))
    executors = {services[name]["environment"]["AIRFLOW__CORE__EXECUTOR"] for name in ("worker", "scheduler")}
    assert executors == {"CeleryExecutor"}
    code = {mount["target"]: mount["read_only"] for mount in services["worker"]["volumes"] if mount["type"] == "bind"}
    assert code == {"/usr/local/airflow/dags": True, "/usr/local/airflow/include": True}
    assert services["worker"]["deploy"]["replicas"] == 2


def test_without_celerys_file_the_executor_is_the_clis(project: Path) -> None:
    services = merged(project)
    assert services["scheduler"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not {"redis", "worker"} & set(services)


def test_the_openmetadata_server_has_the_connectors_version(services: dict[str, Any]) -> None:
    locked = (PROJECT / "local/requirements/openmetadata.txt").read_text()
    version = re.search(r"^openmetadata-ingestion==(\d+\.\d+\.\d+)", locked, re.MULTILINE)
    assert version
    for name in ("openmetadata", "openmetadata-migration"):
        assert services[name]["image"].endswith(f"/server:{version[1]}")


def test_every_variable_is_in_the_example_and_is_used() -> None:
    example = dotenv_values(PROJECT / ".env_example")
    of_providers = {
        section.replace(".", "_"): found["options"]
        for _, sections in ProvidersManager().provider_configs
        for section, found in sections.items()
    }
    files = [
        PROJECT / "docker-compose.override.yml",
        *(PROJECT / "containers").rglob("*.*"),
        *(PROJECT / "include").rglob("*.py"),
    ]
    text = "".join(file.read_text() for file in files if file.suffix in (".yml", ".py", ".sh"))
    assert set(re.findall(r"\$\{(\w+)", OVERRIDE)) <= set(example)
    for name in example:
        if section_option := re.fullmatch(r"AIRFLOW__([A-Z_]+?)__(\w+)", name):
            section, option = (part.lower() for part in section_option.groups())
            assert conf.has_option(section, option) or option in of_providers[section], name
        elif name != "AIRFLOW_CONN_AWS_DEFAULT" and not name.endswith("_NUM_THREADS"):  # NumPy's libraries read those
            assert name in text or hasattr(environment_variables, name), name  # MLflow's own are read by MLflow


def test_an_unknown_s3_server_is_refused(project: Path) -> None:
    with pytest.raises(ComposeError, match=r"containers/s3/compose\.azure\.yml"):
        merged(project, S3_SERVER="azure")


def test_the_artifact_bucket_is_that_of_the_problem(project: Path) -> None:
    services = merged(project)
    assert dotenv_values(PROJECT / ".env_example")["ARTIFACT_BUCKET"] == PROBLEM.artifact_bucket
    assert set(re.findall(r"\$\{ARTIFACT_BUCKET:-(.+?)\}", OVERRIDE)) == {PROBLEM.artifact_bucket}
    assert services["secrets"]["environment"]["ARTIFACT_BUCKET"] == PROBLEM.artifact_bucket
    assert f"--artifacts-destination s3://{PROBLEM.artifact_bucket} " in services["mlflow"]["command"][-1]


@pytest.mark.parametrize(
    ("owner", "expected"),
    [("airflow", {DATA_BUCKET, XCOM_BUCKET, PROBLEM.artifact_bucket}), ("mlflow", {PROBLEM.artifact_bucket})],
)
def test_minios_policies_allow_the_owners_buckets_only(owner: str, expected: set[str]) -> None:
    policy = (PROJECT / f"containers/s3/{owner}.json").read_text()
    patterns = set(re.findall(r"s3:::([^/\"]+)", policy))
    matching = {pattern: {bucket for bucket in expected if fnmatch(bucket, pattern)} for pattern in patterns}
    assert set().union(*matching.values()) == expected
    assert all(matching.values()), matching  # no pattern for other buckets


def test_tasks_that_fit_or_predict_leave_two_slots_to_others() -> None:
    assert int(dotenv_values(PROJECT / ".env_example")["AIRFLOW__CORE__PARALLELISM"] or 0) - 2 >= HEAVY_TASKS
