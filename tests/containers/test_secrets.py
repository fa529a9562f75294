"""Secrets of the compose file: generated, kept, and refused when they are public."""

import ast
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from containers import make_env, mlflow_accounts, write_secrets
from containers.write_secrets import AWS_CONNECTION, EXAMPLE, MLFLOW_CONNECTION, read_settings
from include.settings import DATA_BUCKET, XCOM_BUCKET
from local.settings import PROJECT

GIVEN = "".join((PROJECT / name).read_text() for name in (".env_example", "docs/tutorial.md", "docs/storage.md"))
CONNECTIONS = re.findall(r"^#? ?(AIRFLOW_CONN_(?:MLFLOW|AWS)_DEFAULT='.+')$", GIVEN, re.MULTILINE)
FOLDERS = ("airflow", "mlflow", "postgres", "s3", "serve")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".env_example").write_text((PROJECT / ".env_example").read_text())
    (tmp_path / ".astro").mkdir()
    return tmp_path


def start(project: Path, address: str = "127.0.0.1", server: str = "minio") -> subprocess.CompletedProcess[str]:
    folders = [project / ".env", project / ".astro", *(project / name for name in FOLDERS)]
    command = [sys.executable, "-I", PROJECT / "containers/write_secrets.py", *folders]
    environment = {"PUBLISH_ADDRESS": address, "S3_SERVER": server, "ARTIFACT_BUCKET": "artifacts"}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)


def contents(project: Path) -> dict[str, str]:
    return {str(file): file.read_text() for name in FOLDERS for file in (project / name).iterdir()}


def copy_example(project: Path) -> None:
    (project / ".env").write_text((project / ".env_example").read_text())


def test_a_copied_example_starts_on_this_machine(project: Path) -> None:
    copy_example(project)
    assert start(project).returncode == 0
    assert json.loads((project / "airflow/passwords.json").read_text()) == {"admin": "loopback-only-airflow"}


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::", ""])  # noqa: S104
def test_a_copied_example_is_refused_outside_this_machine(project: Path, address: str) -> None:
    copy_example(project)
    ended = start(project, address)
    assert ended.returncode == 1
    assert "Refused: a port would be reachable from outside this machine" in ended.stderr
    assert "Run `make env`" in ended.stderr
    assert EXAMPLE not in ended.stderr
    assert not (project / "airflow").exists()


def test_a_copied_example_is_refused_where_the_cli_publishes_airflow(project: Path) -> None:
    copy_example(project)
    (project / ".astro/config.yaml").write_text("airflow:\n  expose_port: true\n")
    assert "expose_port" in start(project).stderr


def test_generated_passwords_may_be_published(project: Path) -> None:
    make_env.main(project)
    assert start(project, "0.0.0.0").returncode == 0  # noqa: S104


def test_make_env_generates_different_passwords_for_its_owner_only(project: Path) -> None:
    assert make_env.main(project) == 0
    settings = read_settings(project / ".env")
    assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o600
    assert EXAMPLE not in "".join(settings.values())
    logins = [write_secrets.login(settings, name)[1] for name in (AWS_CONNECTION, MLFLOW_CONNECTION)]
    assert len({*logins, settings["AIRFLOW_ADMIN_PASSWORD"]}) == 3
    assert settings.keys() == read_settings(project / ".env_example").keys()


def test_make_env_keeps_an_existing_file(project: Path) -> None:
    (project / ".env").write_text("MINE=1\n")
    assert make_env.main(project) == 1
    assert (project / ".env").read_text() == "MINE=1\n"


def test_make_env_names_the_remedy_for_a_folder_in_place_of_the_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".env").mkdir()
    assert make_env.main(project) == 1
    assert "sudo rmdir .env" in capsys.readouterr().err
    assert "There is no .env" in start(project).stderr


def test_a_second_start_keeps_every_secret(project: Path) -> None:
    make_env.main(project)
    start(project)
    first = contents(project)
    start(project)
    assert contents(project) == first
    assert len(first) > 15


def test_two_projects_share_no_secret(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / ".astro").mkdir()
    for folder in (project, other):
        (folder / ".env_example").write_text((PROJECT / ".env_example").read_text())
        make_env.main(folder)
        start(folder)
    for name in ("airflow/fernet_key", "airflow/jwt_secret", "mlflow/server.env", "postgres/password", "s3/root.env"):
        assert (project / name).read_text() != (other / name).read_text(), name


def test_mlflow_has_its_own_key_where_accounts_are_created(project: Path) -> None:
    make_env.main(project)
    start(project)
    assert (project / "s3/airflow.key").read_text() != (project / "s3/mlflow.key").read_text()
    start(project, server="rustfs")
    assert (project / "s3/airflow.key").read_text() == (project / "s3/mlflow.key").read_text()


def test_seaweedfs_limits_each_key_to_its_buckets(project: Path) -> None:
    make_env.main(project)
    start(project, server="seaweedfs")
    identities = json.loads((project / "s3/seaweedfs.json").read_text())["identities"]
    buckets = {one["name"]: {action.partition(":")[2] for action in one["actions"]} for one in identities}
    assert buckets == {"airflow": {DATA_BUCKET, XCOM_BUCKET, "artifacts"}, "mlflow": {"artifacts"}}


def test_airflow_gets_no_administrators_password(project: Path) -> None:
    make_env.main(project)
    start(project)
    administrators = [(project / name).read_text() for name in ("mlflow/admin_password", "s3/root_password")]
    visible = (project / ".env").read_text() + "".join(f.read_text() for f in (project / "airflow").iterdir())
    assert not any(password in visible for password in administrators)


@pytest.mark.parametrize("line", CONNECTIONS)
def test_every_connection_in_the_documentation_is_accepted(project: Path, line: str) -> None:
    (project / ".env").write_text(f"{(project / '.env_example').read_text()}\n{line}\n")
    ended = start(project, server="none")
    assert (ended.returncode, ended.stderr) == (0, "")
    account = json.loads((project / "mlflow/airflow.json").read_text())
    assert bool(account) == ("_MLFLOW_" not in line or "http://mlflow:5000" in line)


def test_no_user_is_created_in_another_mlflow(tmp_path: Path) -> None:
    (tmp_path / "airflow.json").write_text("null")
    assert mlflow_accounts.main("http://nowhere.invalid", tmp_path) == 0


@pytest.mark.parametrize(
    ("login", "password"), [("admin", "a long enough password"), ("airflow", "11 letters.")], ids=["admin", "short"]
)
def test_an_administrators_login_and_a_short_password_are_refused(project: Path, login: str, password: str) -> None:
    copy_example(project)
    own = {"conn_type": "mlflow", "host": "http://mlflow:5000/", "login": login, "password": password}
    with (project / ".env").open("a") as file:
        file.write(f"AIRFLOW_CONN_MLFLOW_DEFAULT='{json.dumps(own)}'\n")
    ended = start(project)
    assert ended.returncode == 1
    assert "a login other than admin, which is MLflow's administrator, and a password of at least 12" in ended.stderr
    assert password not in ended.stderr


ODD = "a'b&c$HOME`id`$(id) \\d"


def read_by_a_shell(file: Path) -> dict[str, str]:
    read = ["sh", "-c", f"set -a && . {file} && exec {sys.executable} -c 'import os; print(dict(os.environ))'"]
    printed = subprocess.run(read, env={}, capture_output=True, text=True, check=True).stdout
    own = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}  # the shell's own, and Python's
    return {name: value for name, value in ast.literal_eval(printed).items() if name not in own}


def test_a_shell_reads_s3_keys_unchanged_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_BUCKET", "artifacts")
    write_secrets.write_mlflow(tmp_path, "postgresql://", ("key", ODD), "https://s3.example.com")
    write_secrets.write_s3(tmp_path, ("key", ODD), ("key", ODD))
    assert read_by_a_shell(tmp_path / "server.env")["AWS_SECRET_ACCESS_KEY"] == ODD
    assert read_by_a_shell(tmp_path / "airflow.env") == {"RUSTFS_ACCESS_KEY": "key", "RUSTFS_SECRET_KEY": ODD}


def test_a_shell_reads_the_model_servers_connection_unchanged_and_nothing_else(project: Path) -> None:
    given = json.dumps({"conn_type": "mlflow", "host": "http://elsewhere", "password": ODD.replace("'", "")})
    (project / ".env").write_text(f"{(project / '.env_example').read_text()}\n{MLFLOW_CONNECTION}='{given}'\n")
    start(project)
    assert read_by_a_shell(project / "serve/server.env") == {MLFLOW_CONNECTION: given}


def test_a_model_server_that_logs_requests_gets_the_key_of_s3(project: Path) -> None:
    copy_example(project)
    given = (project / ".env").read_text().replace("SERVE_LOG=0", "SERVE_LOG=1")
    (project / ".env").write_text(given)

    assert start(project).returncode == 0
    environment = read_by_a_shell(project / "serve/server.env")
    assert environment.keys() == {MLFLOW_CONNECTION, AWS_CONNECTION, "SERVE_LOG"}
    assert environment[AWS_CONNECTION] == read_settings(project / ".env")[AWS_CONNECTION]


def test_a_missing_or_broken_setting_is_named(project: Path) -> None:
    assert "There is no .env: run `make env`" in start(project).stderr
    (project / ".env").write_text("AIRFLOW_ADMIN_PASSWORD=x\nAIRFLOW_CONN_AWS_DEFAULT=aws://\n")
    assert "AIRFLOW_CONN_AWS_DEFAULT in .env is not a connection in JSON" in start(project).stderr
