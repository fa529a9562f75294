"""What OpenMetadata's connector leaves out of a model: its champion, tags, owner and lineage.

Runs in the environment of OpenMetadata's connector. Everything is found by name and written again, so that a second
run changes nothing. What people wrote in OpenMetadata stays: the text before the heading, other tags, owners.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

from include.openmetadata import registry
from include.openmetadata.description import add_champion
from include.openmetadata.lineage import draw
from include.openmetadata.registry import Described
from include.openmetadata.server import connect, said
from include.openmetadata.workflow import read_workflow

CLASSIFICATION = "MLflow"

log = ingestion_logger()


def complete(workflow: str, sent: list[str], alias: str, owner: str, lineage: dict[str, Any]) -> dict[str, str]:
    """Add to models that the connector has sent what it leaves out.

    :param workflow: the workflow file
    :param sent: names of registered models
    :param alias: of the version that stands for a model, else it is the newest
    :param owner: name of the team that owns models which nobody owns yet
    :param lineage: as :func:`include.openmetadata.lineage.draw` takes it
    :return: the version described, by the model's name
    :raises CatalogueError: a server cannot be reached, or refuses something
    """
    content = read_workflow(Path(workflow), expand=True)
    server = connect(content)
    mlflow = registry.client(content)
    described = [registry.describe(mlflow, name, alias) for name in sent]
    with said("OpenMetadata (connection openmetadata_default)"):
        team = _team(server, owner)
        for model in described:
            entity = _entity(server, content["source"]["serviceName"], model.model.name)
            _write(server, entity, model, team)
            draw(server, entity, model, lineage)
            log.info("Completed %s, version %s", model.model.name, model.version.version)
    return {model.model.name: str(model.version.version) for model in described}


def _entity(server: OpenMetadata, service: str, name: str) -> MlModel:
    address = fqn.build(server, MlModel, service_name=service, mlmodel_name=name)
    entity = server.get_by_name(MlModel, address, fields=["tags", "owners"])
    if entity is None:
        raise LookupError(f"it has no model {address}: run the connector first")
    return entity


def _write(server: OpenMetadata, entity: MlModel, model: Described, team: Team) -> None:
    changed = entity.model_copy(deep=True)
    written = entity.description.root if entity.description else ""
    changed.description = Markdown(add_champion(written, model))
    kept = [tag for tag in entity.tags or [] if not tag.tagFQN.root.startswith(f"{CLASSIFICATION}.")]
    changed.tags = [*kept, *_tags(server, model)]
    if not (entity.owners and entity.owners.root):
        changed.owners = EntityReferenceList([EntityReference(id=team.id, type="team", name=team.name.root)])
    # A patch: a bot's PUT would leave a description that is there already as it is.
    server.patch(MlModel, entity, changed, override_metadata=True, skip_on_failure=False)


def _tags(server: OpenMetadata, model: Described) -> list[TagLabel]:
    """Return a tag for each alias of the version and for its stage, made if OpenMetadata does not know it yet."""
    stage = model.version.current_stage
    names = [*model.aliases, *([stage] if stage and stage != "None" else [])]
    if names:
        text = "Aliases and stages of MLflow's model registry"
        server.create_or_update(CreateClassificationRequest(name=CLASSIFICATION, description=text))
    for name in names:
        text = f"A version of the model has the alias or stage {name} in MLflow"
        server.create_or_update(CreateTagRequest(classification=CLASSIFICATION, name=name, description=text))
    return [
        TagLabel(
            tagFQN=fqn.build(server, Tag, classification_name=CLASSIFICATION, tag_name=name),
            source=TagSource.Classification,
            labelType=LabelType.Automated,
            state=State.Confirmed,
        )
        for name in names
    ]


def _team(server: OpenMetadata, name: str) -> Team:
    return server.get_by_name(Team, name) or server.create_or_update(
        CreateTeamRequest(name=name, teamType=TeamType.Group)
    )
