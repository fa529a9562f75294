"""What OpenMetadata's connector leaves out of a model: its champion, tags, owner and lineage.

Runs in the environment of OpenMetadata's connector. A second run changes nothing, and what people wrote in OpenMetadata
stays: the text before the heading, other tags, owners.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metadata.generated.schema.api.classification.createClassification import CreateClassificationRequest
from metadata.generated.schema.api.classification.createTag import CreateTagRequest
from metadata.generated.schema.api.teams.createTeam import CreateTeamRequest
from metadata.generated.schema.entity.classification.tag import Tag
from metadata.generated.schema.entity.data.mlmodel import MlModel
from metadata.generated.schema.entity.teams.team import Team, TeamType
from metadata.generated.schema.type.basic import Markdown
from metadata.generated.schema.type.entityReference import EntityReference
from metadata.generated.schema.type.entityReferenceList import EntityReferenceList
from metadata.generated.schema.type.tagLabel import LabelType, State, TagLabel, TagSource
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from metadata.utils import fqn
from metadata.utils.logger import ingestion_logger

from include.openmetadata.connector import address
from include.openmetadata.lineage import add_lineage
from include.openmetadata.servers import ServingVersion, connect, connect_mlflow, find_serving_version, reporting
from include.openmetadata.workflow import read_workflow

CLASSIFICATION = "MLflow"
HEADING = "### In MLflow"

log = ingestion_logger()


def complete(workflow: str, sent: list[str], alias: str, owner: str, lineage: dict[str, Any]) -> dict[str, str]:
    """Add to models what the connector leaves out.

    :param workflow: the workflow file
    :param sent: names of registered models
    :param alias: of the version that represents a model; without it, the newest version does
    :param owner: name of the team that owns models without an owner
    :param lineage: as :func:`include.openmetadata.lineage.add_lineage` takes it
    :return: the version described, by the model's name
    :raises CatalogueError: a server cannot be reached, or rejects something
    """
    content = read_workflow(Path(workflow), expand=True)
    server, mlflow = connect(content), connect_mlflow(content)
    versions = {name: find_serving_version(mlflow, name, alias) for name in sent}
    with reporting("OpenMetadata (connection openmetadata_default)"):
        team = server.get_by_name(Team, owner) or server.create_or_update(
            CreateTeamRequest(name=owner, teamType=TeamType.Group)
        )
        for name, serving in versions.items():
            entity = server.get_by_name(MlModel, address(server, content, name), fields=["tags", "owners"])
            if entity is None:
                raise LookupError(f"it has no model {name}: run the connector first")
            _update(server, entity, serving, team)
            add_lineage(server, EntityReference(id=entity.id, type="mlmodel", name=name), serving.run, lineage)
            log.info("Completed %s, version %s", name, serving.version.version)
    return {name: str(serving.version.version) for name, serving in versions.items()}


def _update(server: OpenMetadata, entity: MlModel, serving: ServingVersion, team: Team) -> None:
    changed = entity.model_copy(deep=True)
    written = entity.description.root if entity.description else ""
    changed.description = Markdown(_describe(written, serving))
    kept = [tag for tag in entity.tags or [] if not tag.tagFQN.root.startswith(f"{CLASSIFICATION}.")]
    changed.tags = [*kept, *_add_tags(server, serving.labels)]
    if not (entity.owners and entity.owners.root):
        changed.owners = EntityReferenceList([EntityReference(id=team.id, type="team", name=team.name.root)])
    # A patch: with PUT from a bot the server keeps the present description.
    server.patch(MlModel, entity, changed, override_metadata=True, skip_on_failure=False)


def _add_tags(server: OpenMetadata, labels: list[str]) -> list[TagLabel]:
    if labels:
        text = "Aliases and stages of MLflow's model registry"
        server.create_or_update(CreateClassificationRequest(name=CLASSIFICATION, description=text))
    for label in labels:
        text = f"A version of the model has the alias or stage {label} in MLflow"
        server.create_or_update(CreateTagRequest(classification=CLASSIFICATION, name=label, description=text))
    names = [fqn.build(server, Tag, classification_name=CLASSIFICATION, tag_name=label) for label in labels]
    style = {"source": TagSource.Classification, "labelType": LabelType.Automated, "state": State.Confirmed}
    return [TagLabel(tagFQN=name, **style) for name in names]


def _describe(written: str, serving: ServingVersion) -> str:
    """Return a description with the facts of a version in Markdown.

    :param written: the present description; from the heading on it is replaced
    """
    name, version, run = serving.model.name, serving.version, serving.run
    before = written.partition(HEADING)[0].rstrip() or serving.model.description or ""
    facts = {
        f"[{version.version}]({_page('models', name, 'versions', version.version)})": ", ".join(
            [f"alias {label}" if label in serving.aliases else f"stage {label}" for label in serving.labels]
        )
        or "the newest; no alias, no stage",
        f"[{run.info.run_name}]({_page('experiments', run.info.experiment_id, 'runs', run.info.run_id)})": "its run",
        f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M} UTC": "trained",
        f"[{name}]({_page('models', name)})": "all versions",
    }
    metrics = [(key, f"{value:.6g}") for key, value in sorted(run.data.metrics.items())]
    tables = (
        _table("version", "of the model", facts.items()),
        _table("metric", "value", metrics),
        _table("tag of the version", "value", sorted(version.tags.items())),
    )
    return "\n\n".join(filter(None, [before, HEADING, *tables]))


def _table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of Markdown, or nothing if it has no rows."""
    lines = [" | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in [f"{left} | {right}", "--- | ---", *lines]) if lines else ""


def _page(*path: str) -> str:
    """Return the address of a page of MLflow for a browser, such as that of ``"models", "<name>"``."""
    return "/".join([os.environ["MLFLOW_PAGES"], *(quote(str(part), safe="") for part in path)])
