"""From two Airflow connections to the environment of one process; the token goes through a file only it can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from include import config
from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.base import MLflowBaseHook
from include.openmetadata.workflow import CatalogueError, variables

if TYPE_CHECKING:
    from airflow.sdk import Connection

CONN_ID = "openmetadata_default"
HOW = (
    "define it with type HTTP, schema, host and port of the OpenMetadata server, and as password the token of its "
    "ingestion bot; docs/openmetadata.md shows it"
)
# What a program may need besides its own settings. Everything else of Airflow's environment stays with Airflow.
PASSED_ON = (
    *("HOME", "LANG", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


@contextmanager
def connected_environment(workflow: Path, conn_id: str = CONN_ID) -> Iterator[dict[str, str]]:
    """Yield the environment of a process that reaches both servers; the file with the token is gone afterwards.

    :param workflow: the workflow file, whose ``${VARIABLES}`` are passed on
    :raises CatalogueError: a connection is missing or cannot be used
    """
    connection = _connection(conn_id)
    with TemporaryDirectory(prefix="openmetadata-") as folder:  # readable by this user alone, as the file is
        token = Path(folder) / "token"
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(_token(connection))
        names = {*PASSED_ON, *variables(workflow)}
        yield {
            **{name: value for name, value in os.environ.items() if name in names},
            **_mlflow_environment(),
            "OPENMETADATA_HOST_PORT": _host_port(connection),
            "OPENMETADATA_TOKEN_FILE": str(token),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(config.INCLUDE.parent), os.environ.get("PYTHONPATH")])),
        }


def _connection(conn_id: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise CatalogueError(f"There is no connection {conn_id}: {HOW}") from None


def _mlflow_environment() -> dict[str, str]:
    """Address and login of MLflow, and the address of its pages, which may be another for a browser."""
    try:
        hook = MLflowBaseHook(config.MLFLOW_CONN_ID)
        environment = hook.get_env_vars()
        pages = hook.server.page()
    except (AirflowNotFoundException, MLflowError) as error:
        raise CatalogueError(f"MLflow: {error}") from None
    return {"MLFLOW_REGISTRY_URI": environment["MLFLOW_TRACKING_URI"], "MLFLOW_PAGES": pages, **environment}


def _host_port(connection: Connection) -> str:
    host = (connection.host or "").strip()
    address = urlsplit(host if "://" in host else f"{connection.schema or 'http'}://{host}")
    if not address.hostname or address.scheme not in ("http", "https") or "@" in address.netloc:
        raise CatalogueError(f"Connection {connection.conn_id} names no usable host: {HOW}")
    port = f":{connection.port}" if connection.port and ":" not in address.netloc else ""
    return f"{address.scheme}://{address.netloc}{port}{address.path.rstrip('/') or '/api'}"


def _token(connection: Connection) -> str:
    token = (connection.password or "").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CatalogueError(f"Connection {connection.conn_id} holds no usable token: {HOW}")
    return token
