"""Base of all MLflow hooks: the server of a connection."""

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from airflow.sdk import BaseHook, Connection

from ..environment import patched_environment
from .server import MLflowServer

CREDENTIALS = Path("~/.mlflow/credentials")  # https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/


class MLflowBaseHook(BaseHook):
    """Provides address and login of an Airflow connection as environment variables."""

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "mlflow"
    hook_name = "MLflow"

    mlflow_env_variables = [
        *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        *("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_INSECURE_TLS"),
        *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_REGISTRY_URI"),
        *("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"),
    ]

    def __init__(self, mlflow_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mlflow_conn_id = mlflow_conn_id

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection, read once per hook; asynchronous code sets it."""
        return self.get_connection(self.mlflow_conn_id)

    @cached_property
    def server(self) -> MLflowServer:
        """The server that the connection points to."""
        server = MLflowServer.from_connection(self.connection)
        if not server.plugin_uri:
            return server
        from .clouds import plugin_credentials  # brings mlflow

        return replace(server, base_url=plugin_credentials(server).host.rstrip("/"))

    def get_env_vars(self) -> dict[str, str]:
        """Return the environment variables with which the ``mlflow`` library reaches the server.

        A call to a dead server then fails within two read time-outs (40 s by default). What the library finds in
        ``~/.mlflow/credentials`` wins over a token, and no variable names another file: the log warns of it.
        """
        variables = {"MLFLOW_TRACKING_URI": self.server.plugin_uri or self.server.base_url, **self._login()}
        if isinstance(self.server.verify, str):
            variables["MLFLOW_TRACKING_SERVER_CERT_PATH"] = self.server.verify
        elif not self.server.verify:
            variables["MLFLOW_TRACKING_INSECURE_TLS"] = "true"
        if self.server.is_databricks:
            variables["MLFLOW_TRACKING_URI"] = "databricks"
        elif CREDENTIALS.expanduser().exists() and not variables.get("MLFLOW_TRACKING_PASSWORD"):
            self.log.warning("A login in %s wins over connection %r: remove it", CREDENTIALS, self.mlflow_conn_id)
        if self.server.registry_url:
            variables["MLFLOW_REGISTRY_URI"] = self.server.registry_url
        return variables | {
            "NETRC": os.devnull,  # else an entry of a .netrc file wins over the connection's login
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(self.server.timeout))),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        }

    def environment(self) -> AbstractContextManager[None]:
        """Set these variables for a ``with`` block, then restore exactly what was there.

        MLflow's other login variables are removed inside. One thread at a time is in such a block; other threads that
        read ``os.environ`` see the variables, and a process started inside keeps them. An earlier
        ``mlflow.set_tracking_uri`` takes precedence.
        """
        return patched_environment(dict.fromkeys(self.mlflow_env_variables) | self.get_env_vars())

    def _login(self) -> dict[str, str]:
        server = self.server
        if server.is_service_principal:
            login = {"DATABRICKS_CLIENT_ID": server.login or "", "DATABRICKS_CLIENT_SECRET": server.password or ""}
            return {"DATABRICKS_HOST": server.base_url, **login}
        if server.is_databricks:
            return {"DATABRICKS_HOST": server.base_url, "DATABRICKS_TOKEN": server.password or ""}
        if server.plugin_uri:
            return {}
        if server.token:
            return {"MLFLOW_TRACKING_TOKEN": server.token}
        if server.login:
            return {"MLFLOW_TRACKING_USERNAME": server.login, "MLFLOW_TRACKING_PASSWORD": server.password or ""}
        return {}
