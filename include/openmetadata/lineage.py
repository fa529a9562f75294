"""Lineage in OpenMetadata: source table, features, model, predictions.

Runs in the environment of OpenMetadata's connector. Objects are *containers* of a *storage service*, which needs no
other connector and no S3 keys. A table would need a database service, a database and a schema.
"""

from __future__ import annotations

import json
from typing import Any

from metadata.generated.schema.api.data.createContainer import CreateContainerRequest
from metadata.generated.schema.api.lineage.addLineage import AddLineageRequest
from metadata.generated.schema.api.services.createStorageService import CreateStorageServiceRequest
from metadata.generated.schema.entity.data.container import FileFormat
from metadata.generated.schema.entity.data.table import Column, DataType
from metadata.generated.schema.type.entityReference import EntityReference
from metadata.ingestion.ometa.ometa_api import OpenMetadata
from mlflow.entities import Run

from include.openmetadata.servers import valid_name

TYPES = {"integer": "INT", "long": "BIGINT", "datetime": "TIMESTAMP"}  # MLflow's types with another name


def add_lineage(server: OpenMetadata, model: EntityReference, run: Run, lineage: dict[str, Any]) -> None:
    """Add the edges to a model and, if it is the model of ``lineage``, those around it.

    :param run: that logged the model; its datasets are the model's features
    :param lineage: ``service``, the storage service's name; ``model``, a registered model; ``table``, the source of its
        features, and ``predictions``, each with ``name``, ``uri``, ``description`` and ``columns`` (by name MLflow's
        type and a description); ``features_by``, ``trained_by`` and ``predicted_by``, the DAGs
    :raises RuntimeError: the server rejects an edge
    """
    datasets = _datasets(run, lineage["table"]["columns"])
    own = model.name == lineage["model"]
    if not (datasets or own):
        return
    service = {"name": lineage["service"], "serviceType": "CustomStorage", "description": "What models read and write"}
    server.create_or_update(CreateStorageServiceRequest.model_validate(service))
    features = [_add_container(server, lineage["service"], data) for data in datasets]
    edges = [(data, model, lineage["trained_by"] if own else "") for data in features]
    if own:
        table, predictions = (
            _add_container(server, lineage["service"], lineage[end]) for end in ("table", "predictions")
        )
        edges += [(table, data, lineage["features_by"]) for data in features or [model]]
        edges += [(model, predictions, lineage["predicted_by"])]
    for edge in edges:
        _add_edge(server, *edge)


def _datasets(run: Run, described: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the datasets that a run read and that have an address."""
    datasets = []
    for dataset in (used.dataset for used in (run.inputs.dataset_inputs if run.inputs else [])):
        fields = [field for field in json.loads(dataset.schema or "{}").get("mlflow_colspec", []) if field.get("name")]
        columns = {field["name"]: (field["type"], described.get(field["name"], ("", ""))[1]) for field in fields}
        if uri := json.loads(dataset.source or "{}").get("uri"):
            about = {"name": dataset.name, "uri": uri, "description": "Features that models are trained on"}
            datasets.append({**about, "columns": columns})
    return datasets


def _add_container(server: OpenMetadata, service: str, data: dict[str, Any]) -> EntityReference:
    suffix = data["uri"].rpartition(".")[2]
    columns = [_column(name, *about) for name, about in data["columns"].items()]
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


def _column(name: str, type_: str, description: str) -> Column:
    type_ = TYPES.get(type_, type_.upper())
    data_type = DataType[type_] if type_ in DataType.__members__ else DataType.UNKNOWN
    return Column(name=valid_name(name), displayName=name, dataType=data_type, description=description or None)


def _add_edge(server: OpenMetadata, start: EntityReference, end: EntityReference, dag: str) -> None:
    details = {"source": "PipelineLineage", "description": f"By the DAG {dag}" if dag else None}
    edge = {"fromEntity": start, "toEntity": end, "lineageDetails": details}
    response = server.add_lineage(AddLineageRequest.model_validate({"edge": edge}), return_lineage=False)
    if error := response.get("error"):  # the SDK reports it without failing
        raise RuntimeError(error)
