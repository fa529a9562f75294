"""What MLflow knows of its registered models and OpenMetadata's connector leaves out.

Runs in the environment of OpenMetadata's connector.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from include.openmetadata.server import said


@dataclass(frozen=True)
class Dataset:
    """A table that a run read: its name, its address, and MLflow's type of each column."""

    name: str
    uri: str
    columns: dict[str, str]


@dataclass(frozen=True)
class Described:
    """A registered model, the version that stands for it, and the run that made it."""

    model: RegisteredModel
    version: ModelVersion
    aliases: list[str]
    run: Run

    def datasets(self) -> list[Dataset]:
        """Return what the run says it read."""
        inputs = self.run.inputs.dataset_inputs if self.run.inputs else []
        return [_dataset(given.dataset) for given in inputs]


def client(workflow: dict[str, Any]) -> MlflowClient:
    """Return a client of the MLflow server that a workflow file names."""
    connection = workflow["source"]["serviceConnection"]["config"]
    return MlflowClient(connection["trackingUri"], connection["registryUri"])


def list_models(mlflow: MlflowClient) -> dict[str, bool]:
    """Return the registered models by name, and whether they have a version.

    :raises CatalogueError: MLflow does not answer, or refuses the login
    """
    with said("MLflow (connection mlflow_default)"):
        models = list(_pages(mlflow.search_registered_models))
        return {model.name: bool(model.latest_versions or _newest(mlflow, model.name)) for model in models}


def describe(mlflow: MlflowClient, name: str, alias: str) -> Described:
    """Return a registered model with the version of this alias; with the newest if there is no such alias.

    :raises CatalogueError: MLflow does not answer, or model or run are gone
    """
    with said(f"MLflow (connection mlflow_default), model {name}"):
        model = mlflow.get_registered_model(name)
        number = model.aliases.get(alias)
        version = mlflow.get_model_version(name, number) if number else _newest(mlflow, name)
        if version is None or not version.run_id:
            raise LookupError("it has no version any more" if version is None else "its version has no run")
        aliases = sorted(key for key, value in model.aliases.items() if str(value) == str(version.version))
        return Described(model, version, aliases, mlflow.get_run(version.run_id))


def page(*path: str) -> str:
    """Return the address of a page of MLflow for a person's browser, such as that of ``"models", "possums"``."""
    return "/".join([os.environ["MLFLOW_PAGES"], *(quote(str(part), safe="") for part in path)])


def _newest(mlflow: MlflowClient, name: str) -> ModelVersion | None:
    """Return the highest version."""
    quote = '"' if "'" in name else "'"  # MLflow knows no escape; Databricks reads single quotes only
    found = _pages(mlflow.search_model_versions, filter_string=f"name={quote}{name}{quote}")
    return max(found, key=lambda version: int(version.version), default=None)


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        found = search(page_token=token, **arguments)
        yield from found
        token = found.token
        if not token:
            return


def _dataset(dataset: Any) -> Dataset:
    schema = json.loads(dataset.schema or "{}").get("mlflow_colspec", [])
    uri = json.loads(dataset.source or "{}").get("uri", "")
    return Dataset(dataset.name, uri, {str(column["name"]): column["type"] for column in schema if column.get("name")})
