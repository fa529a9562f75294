"""The OpenMetadata server, as its SDK reaches it: within seconds, or with a sentence that says why not.

Runs in the environment of OpenMetadata's connector.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from metadata.generated.schema.entity.services.connections.metadata.openMetadataConnection import (
    OpenMetadataConnection,
)
from metadata.ingestion.ometa.ometa_api import OpenMetadata

from include.openmetadata.workflow import CatalogueError

# Seconds to connect and to answer, tried up to three times and twice. The SDK's own limits add up to 15 minutes.
LIMITS = {"timeout": (5, 15), "retry": 0}


def connect(workflow: dict[str, Any]) -> OpenMetadata:
    """Return a client of a server that answers, has the client's version and accepts the token.

    :param workflow: the content of a workflow file, variables filled in
    :raises CatalogueError: it is not so
    """
    settings = workflow["workflowConfig"]["openMetadataServerConfig"]
    with said(f"OpenMetadata on {settings['hostPort']} (connection openmetadata_default)"):
        server: OpenMetadata = OpenMetadata(OpenMetadataConnection.model_validate(settings), False, LIMITS)
        # Anybody may ask for the version; who may list services has the right token.
        answer = server.client.get_raw("/services/mlmodelServices", {"limit": 1})
        if answer.status_code in (401, 403):
            raise CatalogueError(f"it refuses the token (HTTP {answer.status_code}): enter that of its ingestion bot")
        answer.raise_for_status()
    return server


@contextmanager
def said(what: str) -> Iterator[None]:
    """Turn whatever fails inside into one line, without a traceback: ``<what>: <the error>``.

    :raises CatalogueError: something failed
    """
    try:
        yield
    except Exception as error:
        sys.tracebacklimit = 0  # this process ends here, and the sentence says it all
        raise CatalogueError(f"{what}: {' '.join(str(error).split())}") from None
