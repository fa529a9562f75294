"""Tasks in the environment of OpenMetadata's connector; only their process gets the secrets of both connections."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.standard.operators.python import ExternalPythonOperator
from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from include import settings
from include.openmetadata.workflow import CatalogueError, variables

CONN_ID = "openmetadata_default"
REMEDY = (
    "define it with type HTTP, schema, host and port of the OpenMetadata server, and as password the token of its "
    "ingestion bot; docs/openmetadata.md shows it"
)
# What a program needs besides its own settings. The rest of Airflow's environment is not passed on.
PASSED_ON = (
    *("HOME", "LANG", "PATH", "TMPDIR", "TZ", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


class ConnectorOperator(ExternalPythonOperator):
    """Calls a function with the Python of OpenMetadata's connector.

    Like ``@task.external_python(expect_airflow=False)``, but while the function runs, its process has MLflow's login in
    its environment and the token of ``openmetadata_default`` in a file. As arguments both would be in rendered fields.

    :param python_callable: imports what it needs itself; its first argument is ``workflow``
    :param workflow: the workflow file
    """

    def __init__(self, *, python_callable: Callable, workflow: str, op_kwargs: dict | None = None, **kwargs: Any):
        super().__init__(
            python=settings.OPENMETADATA_PYTHON,
            python_callable=python_callable,
            op_kwargs={"workflow": workflow, **(op_kwargs or {})},
            expect_airflow=False,
            inherit_env=False,
            **kwargs,
        )
        self.workflow = workflow

    def _iter_serializable_context_keys(self) -> Iterator[str]:
        """Leave out the keys that need pendulum: looking for it in the environment logs an error."""
        yield from self.BASE_SERIALIZABLE_CONTEXT_KEYS

    def execute(self, context: Context) -> Any:
        """Run the function, and delete the file with the token in any case.

        :raises AirflowFailException: the environment or a connection is missing; the task is not retried
        """
        if not Path(self.python).is_file():
            raise AirflowFailException(
                f"{self.python}, the Python of OpenMetadata's connector, does not exist: build it with `make "
                "setup-openmetadata`, with Docker by ARG OPENMETADATA=1 in the Dockerfile, or set OPENMETADATA_PYTHON"
            )
        try:
            with connected_environment(Path(self.workflow)) as self.env_vars:
                return super().execute(context)
        except CatalogueError as error:
            raise AirflowFailException(str(error)) from None
        finally:
            self.env_vars = None


def ingest(workflow: str) -> dict[str, list[str]]:
    """Call :func:`include.openmetadata.connector.ingest`, which only the connector's environment can import."""
    from include.openmetadata import connector

    return connector.ingest(workflow)


def complete(workflow: str, ingested: dict, completion: dict) -> dict[str, str]:
    """Call :func:`include.openmetadata.completion.complete` for the models that were sent."""
    from include.openmetadata import completion as module

    return module.complete(workflow, ingested["sent"], **completion)


@contextmanager
def connected_environment(workflow: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a process that can reach both servers; the file with the token is deleted afterwards.

    :param workflow: the workflow file, whose ``${VARIABLES}`` are passed on
    :raises CatalogueError: a connection is missing or unusable
    """
    from include.mlflow_provider.exceptions import MLflowError
    from include.mlflow_provider.hooks.base import MLflowBaseHook

    host_port, token = _read_connection()
    try:
        hook = MLflowBaseHook(settings.MLFLOW_CONN_ID)
        login, pages = hook.get_env_vars(), hook.server.page()  # a browser may need another address
    except (AirflowNotFoundException, MLflowError) as error:
        raise CatalogueError(f"MLflow: {error}") from None
    names = {*PASSED_ON, *variables(workflow)}
    with TemporaryDirectory(prefix="openmetadata-") as folder:  # mode 0700
        file = Path(folder) / "token"
        file.touch(mode=0o600)
        file.write_text(token)
        yield {
            **{name: value for name, value in os.environ.items() if name in names},
            **{"MLFLOW_REGISTRY_URI": login["MLFLOW_TRACKING_URI"], "MLFLOW_PAGES": pages, **login},
            **{"OPENMETADATA_HOST_PORT": host_port, "OPENMETADATA_TOKEN_FILE": str(file)},
            "PYTHONPATH": os.pathsep.join(filter(None, [str(settings.INCLUDE.parent), os.environ.get("PYTHONPATH")])),
        }


def _read_connection() -> tuple[str, str]:
    """Return the address of OpenMetadata's API and the token."""
    try:
        connection = BaseHook.get_connection(CONN_ID)
    except AirflowNotFoundException:
        raise CatalogueError(f"There is no connection {CONN_ID}: {REMEDY}") from None
    host, token = (connection.host or "").strip(), (connection.password or "").strip()
    address = urlsplit(host if "://" in host else f"{connection.schema or 'http'}://{host}")
    if not address.hostname or address.scheme not in ("http", "https") or "@" in address.netloc:
        raise CatalogueError(f"Connection {CONN_ID} has no usable host: {REMEDY}")
    if not re.fullmatch("[!-~]+", token):  # printable ASCII, as HTTP headers demand
        raise CatalogueError(f"Connection {CONN_ID} has no usable token: {REMEDY}")
    port = f":{connection.port}" if connection.port and ":" not in address.netloc else ""
    return f"{address.scheme}://{address.netloc}{port}{address.path.rstrip('/') or '/api'}", token
