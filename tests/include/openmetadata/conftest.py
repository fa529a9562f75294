"""OpenMetadata's connector in its own environment, a stand-in for its server, and models in the real MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
import yaml

from include import config
from include.data.table import read_possums
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.model.training import train_model
from include.openmetadata.credentials import connected_environment
from include.openmetadata.possums import COMPLETION
from include.platform import storage, tracking
from tests.environments import build

from .programs import TOKEN, Catalogue, Program


@pytest.fixture(scope="session")
def connector_python() -> Path:
    """The Python of the connector's environment."""
    return build("openmetadata") / "bin" / "python"


@pytest.fixture(scope="session")
def stand_in(connector_python: Path) -> Iterator[Catalogue]:
    program = Program(connector_python, "stub.py")
    yield Catalogue(program.ask(TOKEN))
    program.end()


@pytest.fixture(scope="session")
def calls(connector_python: Path) -> Iterator[Program]:
    program = Program(connector_python, "calls.py")
    yield program
    program.end()


@pytest.fixture
def catalogue(stand_in: Catalogue, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """An OpenMetadata server that knows nothing yet, behind the connection ``openmetadata_default``."""
    stand_in.reset()
    connection = {"conn_type": "http", "host": stand_in.url, "password": TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_OPENMETADATA_DEFAULT", json.dumps(connection))
    return stand_in


@dataclass(frozen=True)
class Registered:
    """A model of the possum pipeline: its name, and its run."""

    name: str
    run_id: str


@pytest.fixture(scope="session")
def possum_model(buckets: None, with_features: Callable[[pd.DataFrame], pd.DataFrame]) -> Registered:
    """A trained model with two versions, the first of them champion."""
    hook = MLflowClientHook()
    table = with_features(read_possums(config.POSSUM_CSV))
    selected = {"name": "RidgeCV", "estimator": "RidgeCV", "hyper_parameters": {"alphas": [0.5, 2.0]}, "reason": "best"}
    model, scores = train_model(table, {"alphas": [0.5, 2.0]})
    logged = tracking.log_training(
        model,
        table,
        scores,
        selected=selected,
        experiment_id=hook.create_experiment("catalogue", exist_ok=True),
        source=storage.write_table(table, f"s3://{config.DATA_BUCKET}/features/catalogue/possum_features.parquet"),
    )
    name = f"Possums {uuid4().hex[:8]}"
    hook.create_registered_model(name, description="Predicts how long a possum's tail is")
    for _ in range(2):
        hook.create_model_version(name, logged["model_uri"], logged["run_id"])
    hook.set_registered_model_alias(name, config.CHAMPION_ALIAS, "1")
    hook.set_registered_model_alias(name, config.MODEL_ALIAS, "2")
    hook.set_model_version_tag(name, "1", "promoted_by", "gate")
    return Registered(name, logged["run_id"])


@pytest.fixture
def limited_to(tmp_path: Path) -> Callable[[str], Path]:
    """Write the project's workflow file, limited to models whose names begin with something."""

    def write(prefix: str) -> Path:
        content = yaml.safe_load(config.OPENMETADATA_WORKFLOW.read_text())
        content["source"]["sourceConfig"]["config"]["mlModelFilterPattern"] = {"includes": [prefix]}
        file = tmp_path / "limited.json"
        file.write_text(json.dumps(content))
        return file

    return write


@dataclass(frozen=True)
class Run:
    """How a call went: what it returned or the error it ended with, and what it logged."""

    result: Any
    error: str
    log: str


@pytest.fixture
def run(
    calls: Program,
    catalogue: Catalogue,
    limited_to: Callable[[str], Path],
    possum_model: Registered,
    tmp_path: Path,
) -> Callable[..., Run]:
    """Run ``ingest`` or ``complete`` as the DAG does, in a process of its own."""

    def begin(what: str, prefix: str = possum_model.name, seconds: float = 0) -> Run:
        workflow = limited_to(prefix)
        arguments: dict[str, Any] = {"workflow": str(workflow)}
        if what == "complete":
            lineage = {**COMPLETION["lineage"], "model": possum_model.name}
            arguments |= {**COMPLETION, "sent": [possum_model.name], "lineage": lineage}
        module = {"ingest": "connector", "complete": "completion"}[what]
        log = tmp_path / f"{what}.log"
        call = {"function": f"include.openmetadata.{module}:{what}", "arguments": arguments, "seconds": seconds}
        with connected_environment(workflow) as environment:
            answer = json.loads(calls.ask(json.dumps(call | {"environment": environment, "log": str(log)})))
        return Run(answer.get("result"), answer.get("error", ""), log.read_text())

    return begin
