"""OpenMetadata's own connector for MLflow, with a check of what it reports, and the clients of both servers.

Clients fail within a minute, with a one-line message. Runs in the environment of OpenMetadata's connector, once per
process: a class of the connector keeps models between runs.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from metadata.generated.schema.entity.data.mlmodel import MlFeature, MlModel
from metadata.generated.schema.entity.services.connections.metadata.openMetadataConnection import (
    OpenMetadataConnection,
)
from metadata.generated.schema.type.filterPattern import FilterPattern
from metadata.ingestion.models.custom_basemodel_validation import replace_separators
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from metadata.ingestion.source.mlmodel.mlflow.metadata import MlflowSource
from metadata.utils import fqn
from metadata.utils.filters import filter_by_mlmodel
from metadata.utils.logger import ingestion_logger
from metadata.workflow import base
from metadata.workflow.metadata import MetadataWorkflow

from include.openmetadata.workflow import CatalogueError, read_workflow

# Seconds to connect and to answer, tried up to three times and twice. The SDK's own limits add up to 15 minutes.
LIMITS = {"timeout": (5, 15), "retry": 0}
MAX_NAME = 256  # characters
MLFLOW = "MLflow (connection mlflow_default)"

_original = MlflowSource._build_ml_features

log = ingestion_logger()


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


def ingest(workflow: str) -> dict[str, list[str]]:
    """Send MLflow's registered models to OpenMetadata.

    :param workflow: the workflow file
    :return: the names of the models that were ``sent``, and of those ``skipped`` because they have no version
    :raises CatalogueError: a server cannot be reached, or a model was not sent completely, for example without its
        signature, which the connector counts as a success
    """
    content = read_workflow(Path(workflow), expand=True)
    server = connect(content)
    config = content["source"].setdefault("sourceConfig", {}).setdefault("config", {})
    included = FilterPattern.model_validate(config.get("mlModelFilterPattern") or {})
    with reporting(MLFLOW):
        models = [model for model in mlflow.search_registered_models() if not filter_by_mlmodel(included, model.name)]
        skipped = sorted(model.name for model in models if not (model.latest_versions or newest_version(model.name)))
    for name in skipped:
        log.warning("%s has no version yet: skipped", name)
    sent = sorted({model.name for model in models}.difference(skipped))
    if not sent:  # the connector would mark every model as deleted
        log.warning("MLflow shows this user no model with a version that the workflow file includes: nothing is sent")
        return {"sent": [], "skipped": skipped}
    # The connector counts a model without a version as a failure. Its patterns are prefixes that ignore the case.
    config["mlModelFilterPattern"] = {"includes": [f"(?-i:{re.escape(name)}$)" for name in sent]}
    with reporting("OpenMetadata's connector"):
        _run(content, server, sent)
    log.info("Sent to OpenMetadata: %s", ", ".join(sent))
    return {"sent": sent, "skipped": skipped}


def address(server: OpenMetadata, content: dict[str, Any], name: str) -> str:
    """Return the fully qualified name of a model in OpenMetadata."""
    service = content["source"]["serviceName"]
    return fqn.build(server, MlModel, service_name=service, mlmodel_name=replace_separators(name))


def valid_name(name: str) -> str:
    """Return a column's name as a server accepts it: without double quotes, ``::`` and line breaks."""
    return " ".join(re.sub(":{2,}", ":", name.replace('"', "'")).split())[:MAX_NAME]


def _run(content: dict[str, Any], server: OpenMetadata, models: list[str]) -> None:
    """Run the connector, and raise an error unless it sent all models without a failure or warning."""
    base.create_ometa_client = lambda *_, **__: server  # the workflow has no setting for time-outs
    MlflowSource._build_ml_features = staticmethod(_build_features)
    workflow = MetadataWorkflow.create(content)
    try:
        workflow.execute()
    finally:
        workflow.stop()
    problems = []
    for status in (step.get_status() for step in workflow.workflow_steps()):
        problems += [f"{failure.name}: {failure.error}" for failure in status.failures]
        problems += [f"{name}: {reason}" for warning in status.warnings for name, reason in warning.items()]
    sent = workflow.source.mlmodel_source_state
    dropped = [name for name in models if address(server, content, name) not in sent]
    problems += [f"{name}: the connector dropped it, its log has the reason" for name in dropped]
    if problems:
        raise CatalogueError("; ".join(problems))


def _build_features(columns: list[dict[str, Any]] | None) -> list[MlFeature] | None:
    """Return the features with valid names; the SDK takes care of the names of models and tables only."""
    features = _original(columns)
    for feature in features or []:
        feature.name.root = valid_name(feature.name.root)
    return features
