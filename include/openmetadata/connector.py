"""OpenMetadata's own connector for MLflow, held to what it reports.

Runs in the environment of OpenMetadata's connector, once a process: a class of the connector remembers models
beyond a run.
"""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from metadata.generated.schema.entity.data.mlmodel import MlModel
from metadata.generated.schema.type.filterPattern import FilterPattern
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from metadata.utils import fqn
from metadata.utils.filters import filter_by_mlmodel
from metadata.utils.logger import ingestion_logger
from metadata.workflow import base
from metadata.workflow.metadata import MetadataWorkflow

from include.openmetadata import registry
from include.openmetadata.server import connect, said
from include.openmetadata.workflow import CatalogueError, read_workflow

log = ingestion_logger()


def ingest(workflow: str) -> dict[str, list[str]]:
    """Send MLflow's registered models to OpenMetadata.

    :param workflow: the workflow file
    :return: the names of the models that were ``sent``, and of those ``skipped`` because they have no version
    :raises CatalogueError: a server cannot be reached, or not everything arrived, such as a model without its
        signature, which the connector itself counts as a success
    """
    content = read_workflow(Path(workflow), expand=True)
    server = connect(content)
    models = {
        name: has_version
        for name, has_version in registry.list_models(registry.client(content)).items()
        if not filter_by_mlmodel(_pattern(content), name)
    }
    if not models:  # it would be read as: they were all deleted
        log.warning("MLflow shows this user no registered model that the workflow file lets through: nothing is sent")
        return {"sent": [], "skipped": []}
    skipped = sorted(name for name, has_version in models.items() if not has_version)
    for name in skipped:
        log.warning("%s has no version yet: skipped", name)
    with said("OpenMetadata's connector"):
        sent = _run(_without(content, skipped), server, set(models) - set(skipped))
    log.info("Sent to OpenMetadata: %s", ", ".join(sent) or "nothing")
    return {"sent": sent, "skipped": skipped}


def _run(content: dict[str, Any], server: OpenMetadata, expected: set[str]) -> list[str]:
    """Run the connector, and return the names of what it sent."""
    base.create_ometa_client = lambda *_, **__: server  # the workflow has no setting for time-outs
    workflow = MetadataWorkflow.create(content)
    try:
        workflow.execute()
    finally:
        workflow.stop()
    statuses = [step.get_status() for step in workflow.workflow_steps()]
    problems = [f"{failure.name}: {failure.error}" for status in statuses for failure in status.failures]
    problems += [f"{name}: {why}" for status in statuses for said in status.warnings for name, why in said.items()]
    sent = {name for name in expected if _fqn(server, content, name) in workflow.source.mlmodel_source_state}
    problems += [f"{name}: the connector dropped it, its log says why" for name in sorted(expected - sent)]
    if problems:
        raise CatalogueError("; ".join(problems))
    return sorted(sent)


def _fqn(server: OpenMetadata, content: dict[str, Any], name: str) -> str:
    return fqn.build(server, MlModel, service_name=content["source"]["serviceName"], mlmodel_name=name)


def _pattern(content: dict[str, Any]) -> FilterPattern | None:
    settings = content["source"].get("sourceConfig", {}).get("config", {})
    pattern = settings.get("mlModelFilterPattern")
    return FilterPattern.model_validate(pattern) if pattern else None


def _without(content: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the workflow with models excluded; the connector calls each that has no version a failure."""
    if not names:
        return content
    content = deepcopy(content)
    settings = content["source"].setdefault("sourceConfig", {}).setdefault("config", {})
    pattern = settings.setdefault("mlModelFilterPattern", {})
    exact = [f"(?-i:{re.escape(name)}$)" for name in names]  # the connector's patterns are prefixes, in any case
    pattern["excludes"] = [*pattern.get("excludes", []), *exact]
    return content
