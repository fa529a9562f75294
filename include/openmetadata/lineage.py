"""Lineage in OpenMetadata: table -> features -> model -> predictions.

Runs in the environment of OpenMetadata's connector. Objects are *containers* of a *storage service* that is made here:
no other connector need have run, no key of S3 is handed over, and a container has columns. A table would need a
database service, a database and a schema, which do not exist.
"""

from __future__ import annotations

from typing import Any

from metadata.generated.schema.api.data.createContainer import CreateContainerRequest
from metadata.generated.schema.api.lineage.addLineage import AddLineageRequest
from metadata.generated.schema.api.services.createStorageService import CreateStorageServiceRequest
from metadata.generated.schema.entity.data.container import Container, ContainerDataModel, FileFormat
from metadata.generated.schema.entity.data.mlmodel import MlModel
from metadata.generated.schema.entity.data.table import Column, DataType
from metadata.generated.schema.entity.services.storageService import StorageServiceType
from metadata.generated.schema.type.entityLineage import EntitiesEdge, LineageDetails, Source
from metadata.generated.schema.type.entityReference import EntityReference
from metadata.ingestion.ometa.ometa_api import OpenMetadata

from include.openmetadata.registry import Described

# MLflow's types of columns that go by another name.
TYPES = {"integer": "INT", "long": "BIGINT", "datetime": "TIMESTAMP"}


def draw(server: OpenMetadata, entity: MlModel, model: Described, lineage: dict[str, Any]) -> None:
    """Draw the edges that lead to a model and, if it is the one that ``lineage`` is about, those around them.

    :param lineage: ``service``, the storage service's name; ``model``, a registered model; ``table``, which its
        features are made of, and ``predictions``, each with ``name``, ``uri``, ``description`` and ``columns``
        (MLflow's types by name); ``features_by``, ``trained_by`` and ``predicted_by``, the DAGs that do it
    :raises RuntimeError: the server refuses an edge
    """
    datasets = [
        {"name": data.name, "uri": data.uri, "description": "What models are trained on", "columns": data.columns}
        for data in model.datasets()
        if data.uri
    ]
    is_the_one = model.model.name == lineage["model"]
    if not (datasets or is_the_one):
        return
    _service(server, lineage["service"])
    here = EntityReference(id=entity.id, type="mlmodel")
    features = [_container(server, lineage["service"], data) for data in datasets]
    for data in features:
        _edge(server, data, here, lineage["trained_by"] if is_the_one else "")
    if is_the_one:
        table, predictions = (_container(server, lineage["service"], lineage[end]) for end in ("table", "predictions"))
        for data in features or [here]:
            _edge(server, table, data, lineage["features_by"])
        _edge(server, here, predictions, lineage["predicted_by"])


def _service(server: OpenMetadata, name: str) -> None:
    request = CreateStorageServiceRequest(
        name=name,
        serviceType=StorageServiceType.CustomStorage,
        description="Files and objects that models are made of, and what they predict",
    )
    server.create_or_update(request)


def _container(server: OpenMetadata, service: str, data: dict[str, Any]) -> EntityReference:
    columns = [Column(name=name, dataType=_type(type_)) for name, type_ in data["columns"].items()]
    format_ = data["uri"].rpartition(".")[2]
    request = CreateContainerRequest(
        name=data["name"],
        service=service,
        fullPath=data["uri"],
        description=data["description"],
        dataModel=ContainerDataModel(columns=columns) if columns else None,
        fileFormats=[FileFormat(format_)] if format_ in FileFormat.__members__ else None,
    )
    container: Container = server.create_or_update(request)
    return EntityReference(id=container.id, type="container")


def _edge(server: OpenMetadata, start: EntityReference, end: EntityReference, dag: str) -> None:
    details = LineageDetails(source=Source.PipelineLineage, description=f"By the DAG {dag}" if dag else None)
    request = AddLineageRequest(edge=EntitiesEdge(fromEntity=start, toEntity=end, lineageDetails=details))
    answer = server.add_lineage(request, return_lineage=False)
    if error := answer.get("error"):  # the SDK reports it without failing
        raise RuntimeError(error)


def _type(name: str) -> DataType:
    name = TYPES.get(name, name.upper())
    return DataType[name] if name in DataType.__members__ else DataType.UNKNOWN
