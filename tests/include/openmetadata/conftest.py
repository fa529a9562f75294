"""OpenMetadata's connector in its own environment, a stand-in for its server, and a model in the real MLflow."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow.data.pandas_dataset import from_pandas

from include import settings
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.openmetadata.catalogue import describe_completion
from include.openmetadata.operator import connected_environment
from include.services import storage
from include.services.champions import CHALLENGER_ALIAS, CHAMPION_ALIAS
from include.services.tracking import connected
from include.spec import Number
from tests.environments import build
from tests.toy import HOUSES, make_rows

from .programs import TOKEN, Catalogue, Program

ODD = 'an "odd" name :: with > and | and\nbreaks, {{ braces }} and $'  # of a column
MODEL = f"House {uuid4().hex[:8]}"
PROBLEM = replace(HOUSES, features=(*HOUSES.features, Number(ODD, unit="m")), registered_model=MODEL)
FEATURES_URI = f"s3://{settings.DATA_BUCKET}/features/catalogue/house_features.parquet"
Runner = Callable[..., SimpleNamespace]
MODULES = {"ingest": "connector", "complete": "completion"}


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
    """An empty OpenMetadata server behind the connection ``openmetadata_default``."""
    stand_in.reset()
    connection = {"conn_type": "http", "host": stand_in.url, "password": TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_OPENMETADATA_DEFAULT", json.dumps(connection))
    return stand_in


@pytest.fixture(scope="session")
def run_id(buckets: None) -> str:
    """The run of ``MODEL``, which has two versions, the first of them champion, the second challenger."""
    hook, rows = MLflowClientHook(), make_rows(20).assign(**{ODD: 1.0})
    storage.write_table(rows, FEATURES_URI)
    predicted = pd.DataFrame({"prediction": [300.0], "lower": [250.0], "upper": [350.0]})
    experiment_id = hook.create_experiment("catalogue", exist_ok=True)
    with connected(), mlflow.start_run(experiment_id=experiment_id, run_name="RidgeCV") as run:
        mlflow.log_input(from_pandas(rows, source=FEATURES_URI, name="house_features"))
        mlflow.log_params({"estimator": "RidgeCV", "train_rows": len(rows)})
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).parents[1] / "models" / "constant.py"),
            signature=mlflow.models.infer_signature(rows[PROBLEM.inputs], predicted),
            pip_requirements=["mlflow-skinny"],
        )
        mlflow.log_metric("holdout_rmse", 21.5)
    hook.create_registered_model(MODEL, description=PROBLEM.summary)
    for version, alias in (("1", CHAMPION_ALIAS), ("2", CHALLENGER_ALIAS)):
        hook.create_model_version(MODEL, logged.model_uri, run.info.run_id)
        hook.set_registered_model_alias(MODEL, alias, version)
    hook.set_model_version_tag(MODEL, "1", "promoted_by", "gate")
    return run.info.run_id


def limit_to(prefix: str, folder: Path) -> Path:
    """Write the project's workflow file, limited to models whose names begin with a prefix."""
    return change_workflow(folder, "source/sourceConfig/config/mlModelFilterPattern", {"includes": [prefix]})


def change_workflow(folder: Path, path: str, value: Any) -> Path:
    """Write the project's workflow file with one setting changed."""
    content = place = yaml.safe_load(settings.OPENMETADATA_WORKFLOW.read_text())
    *names, last = path.split("/")
    for name in names:
        place = place[name]
    place[last] = value
    file = folder / "workflow.json"
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def run(calls: Program, catalogue: Catalogue, run_id: str, tmp_path: Path) -> Runner:
    """Run ``ingest`` or ``complete`` as the DAG does; the process returns ``result`` or ``error``, and its ``log``."""

    def begin(what: str, prefix: str = MODEL, seconds: float = 0) -> SimpleNamespace:
        workflow, log = limit_to(prefix, tmp_path), tmp_path / f"{what}.log"
        completion = {"sent": [prefix], **describe_completion(PROBLEM)} if what == "complete" else {}
        call = {"function": f"include.openmetadata.{MODULES[what]}:{what}", "log": str(log), "seconds": seconds}
        call["arguments"] = {"workflow": str(workflow), **completion}
        with connected_environment(workflow) as environment:
            response = json.loads(calls.ask(json.dumps(call | {"environment": environment})))
        return SimpleNamespace(**{"result": None, "error": "", **response}, log=log.read_text())

    return begin
