"""What OpenMetadata's connector leaves out of a model: its champion, tags, owner and lineage.

Runs in the environment of OpenMetadata's connector. A second run changes nothing, and what people wrote in OpenMetadata
stays: the text before the heading, other tags, owners.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metadata.generated.schema.api.classification.createClassification import CreateClassificationRequest
from metadata.generated.schema.api.classification.createTag import CreateTagRequest
from metadata.generated.schema.api.teams.createTeam import CreateTeamRequest
from metadata.generated.schema.entity.data.mlmodel import MlModel
from metadata.generated.schema.entity.teams.team import Team, TeamType
from metadata.generated.schema.type.basic import Markdown
from metadata.generated.schema.type.entityReference import EntityReference
from metadata.generated.schema.type.entityReferenceList import EntityReferenceList
from metadata.generated.schema.type.tagLabel import TagLabel
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from metadata.utils.logger import ingestion_logger
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from include.openmetadata.connector import MLFLOW, address, connect, newest_version, reporting
from include.openmetadata.lineage import add_lineage
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
    server, mlflow = connect(content), MlflowClient()
    described = {}
    for name in sent:
        with reporting(f"{MLFLOW}, model {name}"):
            model = mlflow.get_registered_model(name)
            version = mlflow.get_model_version(name, model.aliases.get(alias) or str(newest_version(name)))
            run = mlflow.get_run(version.run_id or "")
        with reporting("OpenMetadata (connection openmetadata_default)"):
            entity = server.get_by_name(MlModel, address(server, content, name), fields=["tags", "owners"])
            if entity is None:
                raise LookupError(f"it has no model {name}: run the connector first")
            written = entity.description.root.partition(HEADING)[0].rstrip() if entity.description else ""
            changed = entity.model_copy(deep=True)
            changed.description = Markdown(f"{written or model.description or ''}\n\n{_describe(version, run)}".strip())
            changed.tags = _create_tags(server, entity, version)
            changed.owners = entity.owners if entity.owners and entity.owners.root else _find_team(server, owner)
            # A patch: with PUT from a bot the server keeps the present description.
            server.patch(MlModel, entity, changed, override_metadata=True, skip_on_failure=False)
            add_lineage(server, EntityReference(id=entity.id, type="mlmodel", name=name), run, lineage)
        log.info("Completed %s, version %s", name, version.version)
        described[name] = str(version.version)
    return described


def _labels(version: ModelVersion) -> dict[str, str]:
    """Return the aliases of a version and its stage, each with what it is."""
    stage = version.current_stage or "None"
    return dict.fromkeys(sorted(version.aliases), "alias") | ({} if stage == "None" else {stage: "stage"})


def _create_tags(server: OpenMetadata, entity: MlModel, version: ModelVersion) -> list[TagLabel]:
    """Create the tags of a version, and return them after the other tags of the model."""
    text = "Aliases and stages of MLflow's model registry"
    server.create_or_update(CreateClassificationRequest(name=CLASSIFICATION, description=text))
    tags = [tag for tag in entity.tags or [] if not tag.tagFQN.root.startswith(f"{CLASSIFICATION}.")]
    style = {"source": "Classification", "labelType": "Automated", "state": "Confirmed"}
    for label, kind in _labels(version).items():
        text = f"A version of the model has the {kind} {label} in MLflow"
        server.create_or_update(CreateTagRequest(classification=CLASSIFICATION, name=label, description=text))
        tags.append(TagLabel.model_validate({"tagFQN": f"{CLASSIFICATION}.{label}", **style}))
    return tags


def _find_team(server: OpenMetadata, name: str) -> EntityReferenceList:
    request = CreateTeamRequest(name=name, teamType=TeamType.Group)
    team = server.get_by_name(Team, name) or server.create_or_update(request)
    return EntityReferenceList([EntityReference(id=team.id, type="team", name=name)])


def _describe(version: ModelVersion, run: Run) -> str:
    """Return the facts of a version as a table of Markdown, with links to MLflow's pages."""
    labels = ", ".join(f"{kind} {label}" for label, kind in _labels(version).items()) or "the newest: no alias"
    models, info = ("models", version.name), run.info
    facts = {
        "version": f"{_link(version.version, *models, 'versions', version.version)}, {labels}",
        "all versions": _link(version.name, *models),
        "run": _link(info.run_name, "experiments", info.experiment_id, "runs", info.run_id),
        "trained": f"{datetime.fromtimestamp(info.start_time / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        **{f"metric {name}": f"{value:.6g}" for name, value in sorted(run.data.metrics.items())},
        **{f"tag {name}": value for name, value in sorted(version.tags.items())},
    }
    rows = [" | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in fact) for fact in facts.items()]
    return "\n".join([HEADING, "", *(f"| {row} |" for row in [rows[0], "--- | ---", *rows[1:]])])


def _link(text: object, *path: object) -> str:
    """Return a link to a page of MLflow for a browser, such as that of ``"models", "<name>"``."""
    return f"[{text}]({'/'.join([os.environ['MLFLOW_PAGES'], *(quote(str(part), safe='') for part in path)])})"
