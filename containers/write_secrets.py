"""Writes the stack's keys and passwords to the volumes of those that need them; run by the service ``secrets``.

What nobody needs to know is generated, once, and kept. Airflow's own logins of MLflow and S3 stand in its
connections, in ``.env``, from where they are handed to the servers. Needs nothing but Python itself.
"""

from __future__ import annotations

import base64
import ipaddress
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
OWN_S3 = "http://minio:9000"  # the address, inside the stack, of its own S3 server
OWN_MLFLOW = "mlflow"  # the name, inside the stack, of its own MLflow server
ADMINISTRATOR = "admin"
SHORTEST = 12  # characters of a password that MLflow accepts
BUCKETS = {"airflow": ["data", "localxcom", "mlflowdatapossums"], "mlflow": ["mlflowdatapossums"]}
AUTH_INI = """\
[mlflow]
default_permission = READ
database_uri = {database}/mlflow_auth
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""

Settings = Mapping[str, str]
Login = tuple[str, str]


class RefusedError(Exception):
    """The stack must not be started like this; the message says what to do."""


def main(env_file: Path, configuration: Path, *volumes: Path) -> int:
    """Refuse a start that would publish known passwords, else write everything.

    :param env_file: the project's ``.env``
    :param configuration: the Astro CLI's folder of the project
    :param volumes: the folders of Airflow, MLflow, PostgreSQL, S3 and the model server
    """
    try:
        settings = read_settings(env_file)
        check_example_values(settings, is_published(os.environ.get("PUBLISH_ADDRESS", ""), configuration))
        write_secrets(settings, *volumes)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_settings(file: Path) -> dict[str, str]:
    """Return the variables of a ``.env`` file, whose values may stand in quotes.

    :raises RefusedError: if the file is missing
    """
    if not file.is_file():
        raise RefusedError("There is no .env: run `make env`, or copy .env_example to .env, then start again.")
    found = re.findall(r"""^(\w+)=(?:'([^']*)'|"([^"]*)"|(.*?))\s*$""", file.read_text(), flags=re.MULTILINE)
    return {name: single or double or plain for name, single, double, plain in found}


def is_published(address: str, configuration: Path) -> bool:
    """Tell whether a port can be reached from outside: MLflow's and S3's, or those of the Astro CLI."""
    astro = (configuration / "config.yaml").read_text() if (configuration / "config.yaml").exists() else ""
    return not _is_loopback(address) or bool(re.search(r"^\s*expose_port:\s*[\"']?true", astro, re.MULTILINE))


def check_example_values(settings: Settings, published: bool) -> None:
    """Refuse to publish a stack that has a password everybody can read in ``.env_example``.

    :raises RefusedError: naming the settings
    """
    known = [name for name, value in settings.items() if EXAMPLE in value]
    if published and known:
        raise RefusedError(
            f"Refused: a port would be reachable from outside this machine, but {', '.join(known)} in .env still "
            "has the password of .env_example, which everybody knows. Run `make env` for generated ones, "
            "or publish on 127.0.0.1 only (PUBLISH_ADDRESS, and expose_port in .astro/config.yaml)."
        )


def write_secrets(settings: Settings, airflow: Path, mlflow: Path, postgres: Path, s3: Path, serve: Path) -> None:
    """Write the secrets to a folder for each that needs some, the same values as last time wherever they exist.

    :raises RefusedError: if a setting is missing or is no connection
    """
    keep(airflow / "fernet_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    keep(airflow / "jwt_secret", secrets.token_hex(32))
    keep(airflow / "secret_key", secrets.token_hex(32))
    password = keep(postgres / "password", secrets.token_hex(20))
    write(airflow / "database_url", f"postgresql+psycopg2://postgres:{password}@postgres:5432/postgres")
    passwords = write(airflow / "passwords.json", json.dumps({"admin": _setting(settings, "AIRFLOW_ADMIN_PASSWORD")}))
    passwords.chmod(0o666)  # Airflow opens it for appending, as another user
    mlflow_password = keep(postgres / "mlflow_password", secrets.token_hex(20))
    mlflow_key = (keep(s3 / "mlflow_key", secrets.token_hex(10)), keep(s3 / "mlflow_secret", secrets.token_hex(20)))
    airflow_key, endpoint = s3_account(settings)
    if os.environ.get("S3_SERVER") == "rustfs" or endpoint != OWN_S3:
        mlflow_key = airflow_key  # a server whose accounts are not made here
    write_mlflow(mlflow, f"postgresql+psycopg2://mlflow:{mlflow_password}@postgres:5432", mlflow_key, endpoint)
    write(mlflow / "airflow.json", json.dumps(mlflow_account(settings)))
    write_s3(s3, airflow_key, mlflow_key)
    write_serve(serve, settings)


def s3_account(settings: Settings) -> tuple[Login, str]:
    """Return Airflow's key of S3, and the server's address, which is empty for AWS."""
    key = login(settings, "AIRFLOW_CONN_AWS_DEFAULT")
    extra = connection(settings, "AIRFLOW_CONN_AWS_DEFAULT").get("extra") or {}
    return key, extra.get("endpoint_url", "")


def mlflow_account(settings: Settings) -> dict[str, str] | None:
    """Return the user that Airflow needs of the stack's own MLflow; none if it talks to another server.

    :raises RefusedError: the server would refuse that user, or it is the administrator
    """
    host = connection(settings, "AIRFLOW_CONN_MLFLOW_DEFAULT").get("host") or ""
    if urlsplit(host if "//" in host else f"//{host}").hostname != OWN_MLFLOW:
        return None
    user, password = login(settings, "AIRFLOW_CONN_MLFLOW_DEFAULT")
    if user == ADMINISTRATOR or len(password) < SHORTEST:
        raise RefusedError(
            f"AIRFLOW_CONN_MLFLOW_DEFAULT in .env needs a login other than {ADMINISTRATOR}, who is MLflow's "
            f"administrator, and a password of at least {SHORTEST} characters"
        )
    return {"username": user, "password": password}


def write_mlflow(folder: Path, database: str, key: Login, endpoint: str) -> None:
    """Write the MLflow server's environment and its configuration of logins.

    :param database: address of the database server, with the login
    :param key: of the S3 server at ``endpoint``
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
    write(folder / "auth.ini", AUTH_INI.format(database=database))


def write_s3(folder: Path, airflow: Login, mlflow: Login) -> None:
    """Write the keys of the S3 server in the form of each server that ``containers/s3`` knows."""
    root = {
        "MINIO_ROOT_USER": keep(folder / "root_user", secrets.token_hex(10)),
        "MINIO_ROOT_PASSWORD": keep(folder / "root_password", secrets.token_hex(20)),
    }
    write(folder / "root.env", _lines(root))
    write(folder / "airflow.key", "\n".join(airflow) + "\n")
    write(folder / "mlflow.key", "\n".join(mlflow) + "\n")
    write(folder / "airflow.env", _lines({"RUSTFS_ACCESS_KEY": airflow[0], "RUSTFS_SECRET_KEY": airflow[1]}))
    write(folder / "seaweedfs.json", json.dumps({"identities": _identities(airflow, mlflow)}))


def write_serve(folder: Path, settings: Settings) -> None:
    """Write the model server's environment: Airflow's login of MLflow, from where the models come too."""
    name = "AIRFLOW_CONN_MLFLOW_DEFAULT"
    write(folder / "server.env", _lines({name: settings[name]}))


def keep(file: Path, value: str) -> str:
    """Return what a file holds, writing the value to it if there is no such file."""
    if not file.exists():
        write(file, value)
    return file.read_text()


def write(file: Path, text: str) -> Path:
    """Write a file at once; its volume, not its mode, says who may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.chmod(0o444)
    return part.replace(file)


def login(settings: Settings, name: str) -> Login:
    """Return login and password of a connection.

    :raises RefusedError: if it is missing or has none
    """
    try:
        found = connection(settings, name)
        return found["login"], found["password"]
    except KeyError as missing:
        raise RefusedError(f"{name} in .env has no {missing.args[0]}: see .env_example") from None


def connection(settings: Settings, name: str) -> dict[str, Any]:
    """Return a connection in JSON.

    :raises RefusedError: if it is missing or something else
    """
    try:
        found = json.loads(_setting(settings, name))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(f"{name} in .env is no connection in JSON: see .env_example")
    return found


def _setting(settings: Settings, name: str) -> str:
    if not settings.get(name):
        raise RefusedError(f"{name} is missing in .env: see .env_example")
    return settings[name]


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def _lines(variables: Settings) -> str:
    """Return a file of variables for a shell, which would run what is not quoted; MinIO reads such a file too."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


def _identities(airflow: Login, mlflow: Login) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": [
                f"{action}:{bucket}" for bucket in BUCKETS[name] for action in ("Admin", "Read", "Write", "List")
            ],
        }
        for name, (key, secret) in {"airflow": airflow, "mlflow": mlflow}.items()
    ]


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
