"""Clients of the OpenMetadata server and of MLflow; they fail within a minute, with a one-line message.

Runs in the environment of OpenMetadata's connector.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
from metadata.generated.schema.entity.services.connections.metadata.openMetadataConnection import (
    OpenMetadataConnection,
)
from metadata.ingestion.ometa.ometa_api import OpenMetadata

from include.openmetadata.workflow import CatalogueError

# Seconds to connect and to answer, tried up to three times and twice. The SDK's own limits add up to 15 minutes.
LIMITS = {"timeout": (5, 15), "retry": 0}
MAX_NAME = 256  # characters
MLFLOW = "MLflow (connection mlflow_default)"


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
    """Return a client of the OpenMetadata server in a workflow file, and let ``mlflow`` use the MLflow server in it.

    :raises CatalogueError: OpenMetadata does not answer, has another version than the client, or rejects the token
    """
    source = workflow["source"]["serviceConnection"]["config"]
    mlflow.set_tracking_uri(source["trackingUri"])
    mlflow.set_registry_uri(source["registryUri"])
    settings = workflow["workflowConfig"]["openMetadataServerConfig"]
    with reporting(f"OpenMetadata on {settings['hostPort']} (connection openmetadata_default)"):
        server: OpenMetadata = OpenMetadata(OpenMetadataConnection.model_validate(settings), False, LIMITS)
        # The version needs no token; listing services does.
        response = server.client.get_raw("/services/mlmodelServices", {"limit": 1})
        if response.status_code in (401, 403):
            raise CatalogueError(f"it rejects the token (HTTP {response.status_code}): enter that of its ingestion bot")
        response.raise_for_status()
    return server


def newest_version(model: str) -> int:
    """Return the highest version of a registered model, or 0 if it has none."""
    quote = '"' if "'" in model else "'"  # MLflow has no escape; Databricks reads single quotes only
    versions = mlflow.search_model_versions(filter_string=f"name={quote}{model}{quote}")
    return max((int(version.version) for version in versions), default=0)


def valid_name(name: str) -> str:
    """Return a column's name as a server accepts it: without double quotes, ``::`` and line breaks."""
    return " ".join(re.sub(":{2,}", ":", name.replace('"', "'")).split())[:MAX_NAME]
