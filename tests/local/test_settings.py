"""Settings of a local stack: ports, secrets, connections."""

import contextlib
import json
import socket
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from local import __main__ as command_line
from local import settings
from local.settings import Settings
from local.stack import Stack


@pytest.fixture(autouse=True)
def no_ports_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings().options, "AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"):
        monkeypatch.delenv(name, raising=False)


def test_secrets_are_generated_once_and_readable_by_this_user_only(tmp_path: Path) -> None:
    secrets = Settings(home=tmp_path).secrets()
    assert secrets == Settings(home=tmp_path).secrets()
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
    assert all(len(value) >= 20 for value in secrets.values())


def test_two_stacks_share_no_secret_and_fernet_keys_are_valid(tmp_path: Path) -> None:
    one, other = (Settings(home=tmp_path / name).secrets() for name in ("one", "other"))
    assert not set(one.values()) & set(other.values())
    assert Fernet(one["AIRFLOW_FERNET_KEY"])


def test_airflows_password_is_generated(tmp_path: Path) -> None:
    stack = Settings(home=tmp_path)
    stack.create_folders()
    file = tmp_path / "airflow" / "passwords.json"
    assert json.loads(file.read_text()) == {"admin": stack.secrets()["AIRFLOW_PASSWORD"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_ports_of_a_temporary_stack_differ_and_are_not_ephemeral(tmp_path: Path) -> None:
    ports = settings.temporary(tmp_path).ports
    with contextlib.ExitStack() as held, socket.socket() as outgoing:
        for port in ports.values():
            held.enter_context(socket.create_server(("127.0.0.1", port)))
        outgoing.bind(("127.0.0.1", 0))
        assert outgoing.getsockname()[1] > max(ports.values())


def test_options_are_stored_for_later_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for name, value in {"EXECUTOR": "celery", "WORKERS": "3", "AIRFLOW_PORT": "8181"}.items():
            patch.setenv(name, value)
        settings.load(tmp_path).create_folders()
    stored = settings.load(tmp_path)
    assert (stored.executor, stored.workers, stored.database) == ("celery", 3, "postgresql")
    assert stored.ports["AIRFLOW_PORT"] == 8181


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"S3_PORT": value}, f"S3_PORT={value} is not a port: choose a number from 1 to 65535")
            for value in ("http", "0", "65536", "-1")
        ),
        ({"EXECUTOR": "dask"}, "EXECUTOR=dask: choose local or celery"),
        ({"EXECUTOR": "celery", "DATABASE": "sqlite"}, "DATABASE=sqlite: choose postgresql"),
        ({"WORKERS": "0"}, "WORKERS=0 is not a number of workers"),
    ],
)
def test_an_invalid_option_is_an_error(
    options: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=message):
        settings.load(tmp_path)


def test_celery_workers_have_no_access_to_airflows_database_and_keys(tmp_path: Path) -> None:
    stack = Settings(home=tmp_path, executor="celery", database="postgresql")
    known = "\n".join(stack.environments()["worker"].values())
    assert {name for name, value in stack.secrets().items() if value in known} == {
        *("S3_ACCESS_KEY", "S3_SECRET_KEY", "AIRFLOW_MLFLOW_PASSWORD", "REDIS_PASSWORD")
    }


def test_a_connection_from_outside_replaces_the_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = '{"conn_type": "http", "host": "https://mlflow.example.com"}'
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", remote)
    environment = Settings(home=tmp_path).environment()
    assert environment["AIRFLOW_CONN_MLFLOW_DEFAULT"] == remote
    assert "127.0.0.1" in environment["AIRFLOW_CONN_AWS_DEFAULT"]


def test_a_temporary_stack_uses_its_own_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", '{"conn_type": "http", "host": "https://mlflow.example.com"}')
    assert "mlflow.example.com" not in settings.temporary(tmp_path).environment()["AIRFLOW_CONN_MLFLOW_DEFAULT"]


def test_openmetadatas_connector_may_be_installed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENMETADATA_PYTHON", raising=False)
    assert Settings(home=tmp_path).environment()["OPENMETADATA_PYTHON"].endswith("/openmetadata/bin/python")
    monkeypatch.setenv("OPENMETADATA_PYTHON", "/elsewhere/bin/python")
    assert Settings(home=tmp_path).environment()["OPENMETADATA_PYTHON"] == "/elsewhere/bin/python"


def test_settings_of_another_airflow_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.example.com")
    environment = Settings(home=tmp_path).environment()
    assert "AIRFLOW__CORE__EXECUTOR" not in environment
    assert "MLFLOW_TRACKING_URI" not in environment


def test_a_program_gets_no_secret_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "a-token-of-the-shell")
    stack = Settings(home=tmp_path)
    secrets = stack.secrets() | {"GITHUB_TOKEN": "a-token-of-the-shell"}
    known = {
        program: {name for name, value in secrets.items() if value in "\n".join(variables.values())}
        for program, variables in stack.environments().items()
    }
    assert not known["scheduler"] & {"GITHUB_TOKEN", "MLFLOW_PASSWORD", "MLFLOW_S3_SECRET_KEY", "AIRFLOW_PASSWORD"}
    assert known["model-server"] == {"AIRFLOW_MLFLOW_PASSWORD"}
    assert known["s3"] == {name for name in secrets if "S3_" in name}
    assert known["mlflow"] & known["scheduler"] == set()


@pytest.mark.parametrize("setting", ["SERVE_LOG", "SERVE_SHADOW"])
def test_a_model_server_that_logs_requests_has_airflows_key_of_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv(setting, "1")
    variables = Settings(home=tmp_path).environments()["model-server"]

    assert variables[setting] == "1"
    assert variables["AIRFLOW_CONN_AWS_DEFAULT"] == Settings(home=tmp_path).environment()["AIRFLOW_CONN_AWS_DEFAULT"]


def test_a_program_that_starts_later_gets_the_settings_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Settings(home=tmp_path)
    stack.create_folders()
    monkeypatch.setenv("SERVE_LOG", "1")

    stack.write_environments(["model-server"])

    written = {
        program: json.loads((tmp_path / "environments" / f"{program}.json").read_text())
        for program in ("model-server", "scheduler")
    }
    assert written["model-server"]["SERVE_LOG"] == "1"
    assert "SERVE_LOG" not in written["scheduler"]
    assert stat.S_IMODE((tmp_path / "environments" / "model-server.json").stat().st_mode) == 0o600


def test_the_common_settings_are_those_of_the_example(tmp_path: Path) -> None:
    environment = Settings(home=tmp_path).environment()
    assert environment["AIRFLOW__CORE__XCOM_BACKEND"] == "include.services.xcom.XComBackend"
    assert environment["AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"] == "s3://aws_default@localxcom/xcom"
    assert not [name for name, value in environment.items() if "loopback-only" in value]


def test_airflows_connection_to_s3_has_the_stacks_key_and_the_timeouts_of_the_example(tmp_path: Path) -> None:
    stack = Settings(home=tmp_path)
    connection = json.loads(stack.environment()["AIRFLOW_CONN_AWS_DEFAULT"])
    assert (connection["login"], connection["password"]) == tuple(
        stack.secrets()[name] for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY")
    )
    assert connection["extra"]["endpoint_url"] == stack.url("s3")
    assert connection["extra"]["config_kwargs"]["connect_timeout"] == 5


def test_missing_secrets_of_an_older_stack_are_added(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("MLFLOW_PASSWORD=kept\n")
    secrets = Settings(home=tmp_path).secrets()
    assert secrets["MLFLOW_PASSWORD"] == "kept"
    assert len(secrets["AIRFLOW_MLFLOW_PASSWORD"]) >= 20


def test_the_environment_file_for_the_astro_cli_is_readable_by_this_user_only(tmp_path: Path) -> None:
    tmp_path.joinpath("home").mkdir()
    stack = Stack(Settings(home=tmp_path / "home"))
    command_line.standalone(stack, [])
    file = tmp_path / "home" / "standalone.env"
    written = dotenv_values(file)
    assert json.loads(written["AIRFLOW_CONN_MLFLOW_DEFAULT"])["host"] == "http://127.0.0.1:5000"
    assert json.loads(written["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"] == "http://127.0.0.1:9000"
    assert written.keys() >= settings.common_settings().keys()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_openlineage_and_metrics_may_be_configured_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {f"AIRFLOW__OPENLINEAGE__{name}": name for name in ("TRANSPORT", "CONFIG_CONN_ID", "DISABLED")}
    given |= {"AIRFLOW__METRICS__OTEL_ON": "True", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9090"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert Settings(home=tmp_path).environment().items() >= given.items()


def test_the_socket_path_is_short_in_a_deep_folder(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 10)
    assert len(str(Settings(home=deep).socket)) < 100
