"""The command lines: ``make ingest``, and OpenMetadata's own command with the same workflow file."""

import os
import subprocess
from pathlib import Path

import pytest

from include.openmetadata.operator import connected_environment
from local import __main__ as command_line
from local.settings import PROJECT
from local.stack import Stack

from .conftest import MODEL, limit_to
from .programs import TOKEN, Catalogue


def test_make_ingest_does_what_the_dag_does(
    stack: Stack,
    catalogue: Catalogue,
    run_id: str,
    tmp_path: Path,
    connector_python: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())  # the command sets variables
        patch.setenv("OPENMETADATA_PYTHON", str(connector_python))
        assert command_line.ingest(stack, [str(limit_to(MODEL, tmp_path))]) == 0

    sent = catalogue.entity("mlmodels", f"mlflow.{MODEL}")
    assert sent["mlFeatures"]
    assert "### In MLflow" in sent["description"]
    ((features, trained),) = catalogue.state()["edges"]  # this is not the model of the project's problem
    assert (features.partition(".")[2], trained) == ("house_features", f"mlflow.{MODEL}")


def test_make_passes_the_workflow_file_on() -> None:
    ran = subprocess.run(
        ["make", "--dry-run", "ingest", "WORKFLOW=my.yaml"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1].endswith("-m local ingest my.yaml")


def test_openmetadatas_own_command_takes_the_file(catalogue: Catalogue, connector_python: Path, tmp_path: Path) -> None:
    workflow = limit_to("No model has this name", tmp_path)
    command = [str(connector_python.with_name("metadata")), "ingest", "-c", str(workflow)]
    with connected_environment(workflow) as environment:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert catalogue.sent("PUT", "services/mlmodelServices")
    assert TOKEN not in ended.stdout + ended.stderr
