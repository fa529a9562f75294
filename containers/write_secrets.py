"""Write the stack's keys and passwords to the volumes of the services that need them; run by the service ``secrets``.

Internal secrets are generated once and kept. Airflow's logins for MLflow and S3 come from its connections in ``.env``.
Needs the standard library only.
"""

import base64
import json
import os
import re
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

EXAMPLE = "loopback-only"  # part of every secret in .env_example
OWN_S3 = "http://minio:9000"  # the stack's S3 server, inside the stack
OWN_MLFLOW = "mlflow"  # host name of the stack's MLflow server, inside the stack
ADMINISTRATOR = "admin"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
MLFLOW_CONNECTION, AWS_CONNECTION = "AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"
MIN_PASSWORD = 12  # characters, required by MLflow
DATA_BUCKETS = ("data", "localxcom")
AUTH_INI = """\
[mlflow]
default_permission = READ
database_uri = {database_uri}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
; Passwords are hashed slowly on purpose: check one once a minute, not at every request.
auth_cache_ttl_seconds = 60
"""

Settings = Mapping[str, str]
Login = tuple[str, str]


class RefusedError(Exception):
    """The stack must not start with these settings; the message says what to do."""


def main(env_file: Path, configuration: Path, *volumes: Path) -> int:
    """Write all secrets, unless known passwords would be published.

    :param env_file: the project's ``.env``
    :param configuration: the project's folder of the Astro CLI
    :param volumes: the folders of Airflow, MLflow, PostgreSQL, S3 and the model server
    """
    try:
        settings = read_settings(env_file)
        check_example_values(settings, configuration)
        write_secrets(settings, *volumes)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_settings(file: Path) -> dict[str, str]:
    """Return the variables of a ``.env`` file, whose values may be in quotes.

    :raises RefusedError: if the file is missing
    """
    if not file.is_file():
        raise RefusedError("There is no .env: run `make env`, or copy .env_example to .env, then start again.")
    found = re.findall(r"""^(\w+)=(?:'([^']*)'|"([^"]*)"|(.*?))\s*$""", file.read_text(), flags=re.MULTILINE)
    return {name: single or double or plain for name, single, double, plain in found}


def check_example_values(settings: Settings, configuration: Path) -> None:
    """Refuse to publish a port of MLflow, S3 or Airflow with a password of ``.env_example``.

    :raises RefusedError: with the names of the settings
    """
    file = configuration / "config.yaml"
    exposed = re.search(r"^\s*expose_port:\s*[\"']?true", file.read_text() if file.exists() else "", re.MULTILINE)
    published = exposed or os.environ.get("PUBLISH_ADDRESS") not in LOOPBACK
    known = [name for name, value in settings.items() if EXAMPLE in value]
    if published and known:
        raise RefusedError(
            f"Refused: a port would be reachable from outside this machine, but {', '.join(known)} in .env still "
            "has the public password of .env_example. Run `make env` for generated passwords, "
            "or publish on 127.0.0.1 only (PUBLISH_ADDRESS, and expose_port in .astro/config.yaml)."
        )


def write_secrets(settings: Settings, airflow: Path, mlflow: Path, postgres: Path, s3: Path, serve: Path) -> None:
    """Write each service's secrets to its folder, and keep generated ones that exist.

    :raises RefusedError: if a setting is missing or is not a connection
    """
    keep(airflow / "fernet_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    keep(airflow / "jwt_secret", secrets.token_hex(32))
    keep(airflow / "secret_key", secrets.token_hex(32))
    password = keep(postgres / "password", secrets.token_hex(20))
    write(airflow / "database_url", f"postgresql+psycopg2://postgres:{password}@postgres:5432/postgres")
    if not settings.get("AIRFLOW_ADMIN_PASSWORD"):
        raise RefusedError("AIRFLOW_ADMIN_PASSWORD is missing in .env: see .env_example")
    passwords = write(airflow / "passwords.json", json.dumps({"admin": settings["AIRFLOW_ADMIN_PASSWORD"]}))
    passwords.chmod(0o666)  # Airflow opens it for appending, as another user
    mlflow_password = keep(postgres / "mlflow_password", secrets.token_hex(20))
    mlflow_key = (keep(s3 / "mlflow_key", secrets.token_hex(10)), keep(s3 / "mlflow_secret", secrets.token_hex(20)))
    airflow_key = login(settings, AWS_CONNECTION)
    endpoint = (connection(settings, AWS_CONNECTION).get("extra") or {}).get("endpoint_url", "")
    if os.environ.get("S3_SERVER") == "rustfs" or endpoint != OWN_S3:
        mlflow_key = airflow_key  # these servers' accounts are not created here
    write_mlflow(mlflow, f"postgresql+psycopg2://mlflow:{mlflow_password}@postgres:5432", mlflow_key, endpoint)
    write(mlflow / "airflow.json", json.dumps(mlflow_account(settings)))
    write_s3(s3, airflow_key, mlflow_key)
    keep(serve / "token", secrets.token_urlsafe(32))
    logs = [name for name in ("SERVE_LOG", "SERVE_SHADOW") if settings.get(name) == "1"]
    needed = [MLFLOW_CONNECTION, *([AWS_CONNECTION, *logs] if logs else [])]
    write(serve / "server.env", _lines({name: settings[name] for name in needed}))


def mlflow_account(settings: Settings) -> dict[str, str] | None:
    """Return the user that Airflow needs in the stack's MLflow, or None if it uses another server.

    :raises RefusedError: if MLflow would reject the user, or it is the administrator
    """
    host = connection(settings, MLFLOW_CONNECTION).get("host") or ""
    if urlsplit(host if "//" in host else f"//{host}").hostname != OWN_MLFLOW:
        return None
    user, password = login(settings, MLFLOW_CONNECTION)
    if user == ADMINISTRATOR or len(password) < MIN_PASSWORD:
        raise RefusedError(
            f"{MLFLOW_CONNECTION} in .env needs a login other than {ADMINISTRATOR}, which is MLflow's "
            f"administrator, and a password of at least {MIN_PASSWORD} characters"
        )
    return {"username": user, "password": password}


def write_mlflow(folder: Path, database: str, key: Login, endpoint: str) -> None:
    """Write the environment and the login configuration of the MLflow server.

    :param database: address of the database server, with its login
    :param key: access key and secret key of the S3 server at ``endpoint``
    :param endpoint: address of the S3 server; empty for AWS
    """
    environment = {
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMINISTRATOR,
        "MLFLOW_AUTH_ADMIN_PASSWORD": keep(folder / "admin_password", secrets.token_hex(20)),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": keep(folder / "flask_key", secrets.token_hex(32)),
        "MLFLOW_BACKEND_STORE_URI": f"{database}/mlflow",
        "AWS_ACCESS_KEY_ID": key[0],
        "AWS_SECRET_ACCESS_KEY": key[1],
        **({"MLFLOW_S3_ENDPOINT_URL": endpoint} if endpoint else {}),
    }
    write(folder / "server.env", _lines(environment))
    write(folder / "auth.ini", AUTH_INI.format(database_uri=f"{database}/mlflow_auth"))


def write_s3(folder: Path, airflow: Login, mlflow: Login) -> None:
    """Write the S3 keys in the format of each server in ``containers/s3``."""
    root = {
        "MINIO_ROOT_USER": keep(folder / "root_user", secrets.token_hex(10)),
        "MINIO_ROOT_PASSWORD": keep(folder / "root_password", secrets.token_hex(20)),
    }
    artifacts = os.environ["ARTIFACT_BUCKET"]
    write(folder / "root.env", _lines(root))
    identities = []
    for name, key, buckets in (("airflow", airflow, [*DATA_BUCKETS, artifacts]), ("mlflow", mlflow, [artifacts])):
        write(folder / f"{name}.key", "\n".join(key) + "\n")
        actions = [f"{action}:{bucket}" for bucket in buckets for action in ("Admin", "Read", "Write", "List")]
        credentials = [{"accessKey": key[0], "secretKey": key[1]}]
        identities.append({"name": name, "credentials": credentials, "actions": actions})
    write(folder / "airflow.env", _lines({"RUSTFS_ACCESS_KEY": airflow[0], "RUSTFS_SECRET_KEY": airflow[1]}))
    write(folder / "seaweedfs.json", json.dumps({"identities": identities}))


def keep(file: Path, value: str) -> str:
    """Return the content of a file, after writing the value to it if it is missing."""
    if not file.exists():
        write(file, value)
    return file.read_text()


def write(file: Path, text: str) -> Path:
    """Write a file atomically; its volume, not its mode, protects it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.chmod(0o444)
    return part.replace(file)


def login(settings: Settings, name: str) -> Login:
    """Return login and password of a connection.

    :raises RefusedError: if the connection, its login or its password is missing
    """
    try:
        found = connection(settings, name)
        return found["login"], found["password"]
    except KeyError as missing:
        raise RefusedError(f"{name} in .env has no {missing.args[0]}: see .env_example") from None


def connection(settings: Settings, name: str) -> dict[str, Any]:
    """Return a connection.

    :raises RefusedError: if it is missing or not JSON
    """
    try:
        found = json.loads(settings.get(name, ""))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(f"{name} in .env is not a connection in JSON: see .env_example")
    return found


def _lines(variables: Settings) -> str:
    """Return variables as a file for a shell, quoted so that it runs none of them; MinIO reads it too."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
