"""Clients of the OpenMetadata server and of MLflow; they fail within a minute, with a one-line message.

Runs in the environment of OpenMetadata's connector.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metadata.generated.schema.entity.services.connections.metadata.openMetadataConnection import (
    OpenMetadataConnection,
)
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from include.openmetadata.workflow import CatalogueError

# Seconds to connect and to answer, tried up to three times and twice. The SDK's own limits add up to 15 minutes.
LIMITS = {"timeout": (5, 15), "retry": 0}
MAX_NAME = 256  # characters


@dataclass(frozen=True)
class ServingVersion:
    """The version that represents a registered model, its aliases, and the run that logged it."""

    model: RegisteredModel
    version: ModelVersion
    aliases: list[str]
    run: Run

    @property
    def labels(self) -> list[str]:
        """The aliases of the version and its stage."""
        stage = self.version.current_stage
        return [*self.aliases, *([stage] if stage and stage != "None" else [])]


@contextmanager
def reporting(what: str) -> Iterator[None]:
    """Raise any error inside as one line, without a traceback: ``<what>: <the error>``.

    :raises CatalogueError: something failed
    """
    try:
        yield
    except Exception as error:
        sys.tracebacklimit = 0  # the process ends here, and the message is complete
        raise CatalogueError(f"{what}: {' '.join(str(error).split())}") from None


def connect(workflow: dict[str, Any]) -> OpenMetadata:
    """Return a client of the OpenMetadata server in a workflow file.

    :raises CatalogueError: the server does not answer, has another version than the client, or rejects the token
    """
    settings = workflow["workflowConfig"]["openMetadataServerConfig"]
    with reporting(f"OpenMetadata on {settings['hostPort']} (connection openmetadata_default)"):
        server: OpenMetadata = OpenMetadata(OpenMetadataConnection.model_validate(settings), False, LIMITS)
        # The version needs no token; listing services does.
        response = server.client.get_raw("/services/mlmodelServices", {"limit": 1})
        if response.status_code in (401, 403):
            raise CatalogueError(f"it rejects the token (HTTP {response.status_code}): enter that of its ingestion bot")
        response.raise_for_status()
    return server


def connect_mlflow(workflow: dict[str, Any]) -> MlflowClient:
    """Return a client of the MLflow server in a workflow file."""
    connection = workflow["source"]["serviceConnection"]["config"]
    return MlflowClient(connection["trackingUri"], connection["registryUri"])


def list_models(mlflow: MlflowClient) -> dict[str, bool]:
    """Return the registered models by name, and whether they have a version.

    :raises CatalogueError: MLflow does not answer, or rejects the login
    """
    with reporting("MLflow (connection mlflow_default)"):
        models = list(_pages(mlflow.search_registered_models))
        return {model.name: bool(model.latest_versions or _newest(mlflow, model.name)) for model in models}


def find_serving_version(mlflow: MlflowClient, name: str, alias: str) -> ServingVersion:
    """Return the version of a model with an alias, or the newest version if none has it.

    :raises CatalogueError: MLflow does not answer, or model or run were deleted
    """
    with reporting(f"MLflow (connection mlflow_default), model {name}"):
        model = mlflow.get_registered_model(name)
        number = model.aliases.get(alias)
        version = mlflow.get_model_version(name, number) if number else _newest(mlflow, name)
        if version is None or not version.run_id:
            raise LookupError("it has no version" if version is None else "its version has no run")
        aliases = sorted(key for key, value in model.aliases.items() if str(value) == str(version.version))
        return ServingVersion(model, version, aliases, mlflow.get_run(version.run_id))


def valid_name(name: str) -> str:
    """Return a column's name as a server accepts it: without double quotes, ``::`` and line breaks."""
    return " ".join(re.sub(":{2,}", ":", name.replace('"', "'")).split())[:MAX_NAME]


def _newest(mlflow: MlflowClient, name: str) -> ModelVersion | None:
    quote = '"' if "'" in name else "'"  # MLflow has no escape; Databricks reads single quotes only
    versions = _pages(mlflow.search_model_versions, filter_string=f"name={quote}{name}{quote}")
    return max(versions, key=lambda version: int(version.version), default=None)


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return
