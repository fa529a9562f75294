"""Lineage in OpenMetadata: source table, features, model, predictions.

Runs in the environment of OpenMetadata's connector. Objects are *containers* of a *storage service*, which needs no
other connector and no S3 keys. A table would need a database service, a database and a schema.
"""

import json
from itertools import product
from typing import Any

from metadata.generated.schema.api.data.createContainer import CreateContainerRequest
from metadata.generated.schema.api.lineage.addLineage import AddLineageRequest
from metadata.generated.schema.api.services.createStorageService import CreateStorageServiceRequest
from metadata.generated.schema.entity.data.container import FileFormat
from metadata.generated.schema.type.entityReference import EntityReference
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from metadata.ingestion.source.database.column_type_parser import ColumnTypeParser
from mlflow.entities import Run

from include.openmetadata.connector import valid_name


def add_lineage(server: OpenMetadata, model: EntityReference, run: Run, lineage: dict[str, Any]) -> None:
    """Add the edges from features to a model and, if it is the model of ``lineage``, from the table and to predictions.

    :param run: that logged the model; its datasets are the model's features
    :param lineage: ``service``, the storage service's name; ``model``, a registered model; ``table``, the source of its
        features, and ``predictions``, each with ``name``, ``uri``, ``description`` and ``columns`` (by name MLflow's
        type and a description); ``edges``, each with start, end and the DAG that writes the end
    :raises RuntimeError: the server rejects an edge
    """
    service = {"name": lineage["service"], "serviceType": "CustomStorage", "description": "What models read and write"}
    server.create_or_update(CreateStorageServiceRequest.model_validate(service))
    own = model.name == lineage["model"]
    data = {name: [lineage[name]] if own else [] for name in ("table", "predictions")}
    data["features"] = _datasets(run, lineage["table"]["columns"])
    ends = {name: [_add_container(server, lineage["service"], each) for each in data[name]] for name in data}
    ends["model"] = [model]
    for start, end, dag in lineage["edges"]:
        for edge in product(ends[start], ends[end]):
            _add_edge(server, *edge, dag if own else "")


def _datasets(run: Run, described: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the datasets that a run read and that have an address, in the form of ``lineage["table"]``."""
    datasets = []
    for dataset in (used.dataset for used in (run.inputs.dataset_inputs if run.inputs else [])):
        fields = [field for field in json.loads(dataset.schema or "{}").get("mlflow_colspec", []) if field.get("name")]
        columns = {field["name"]: (field["type"], described.get(field["name"], ("", ""))[1]) for field in fields}
        if uri := json.loads(dataset.source or "{}").get("uri"):
            about = {"name": dataset.name, "uri": uri, "description": "Features that models are trained on"}
            datasets.append({**about, "columns": columns})
    return datasets


def _add_container(server: OpenMetadata, service: str, data: dict[str, Any]) -> EntityReference:
    columns = [
        {
            "name": valid_name(name),
            "displayName": name,
            "dataType": ColumnTypeParser.get_column_type(type_.upper()),
            "description": description or None,
        }
        for name, (type_, description) in data["columns"].items()
    ]
    suffix = data["uri"].rpartition(".")[2]
    content = {
        "name": data["name"],
        "service": service,
        "fullPath": data["uri"],
        "description": data["description"],
        "dataModel": {"columns": columns} if columns else None,
        "fileFormats": [suffix] if suffix in FileFormat.__members__ else None,
    }
    container = server.create_or_update(CreateContainerRequest.model_validate(content))
    return EntityReference(id=container.id, type="container")


def _add_edge(server: OpenMetadata, start: EntityReference, end: EntityReference, dag: str) -> None:
    details = {"source": "PipelineLineage", "description": f"By the DAG {dag}" if dag else None}
    edge = {"fromEntity": start, "toEntity": end, "lineageDetails": details}
    response = server.add_lineage(AddLineageRequest.model_validate({"edge": edge}), return_lineage=False)
    if error := response.get("error"):  # the SDK reports it without failing
        raise RuntimeError(error)
