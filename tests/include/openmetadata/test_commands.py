"""The command lines: ``make ingest``, and OpenMetadata's own command with the same workflow file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from include import config
from include.openmetadata.credentials import connected_environment
from local import __main__ as command_line
from local.settings import PROJECT
from local.stack import Stack

from .conftest import Registered
from .programs import TOKEN, Catalogue


def test_make_ingest_does_what_the_dag_does(
    stack: Stack,
    catalogue: Catalogue,
    limited_to: Callable[[str], Path],
    possum_model: Registered,
    connector_python: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())  # the command makes settings of its own
        patch.setenv("OPENMETADATA_PYTHON", str(connector_python))
        assert command_line.ingest(stack, [str(limited_to(possum_model.name))]) == 0

    sent = catalogue.entity("mlmodels", f"possums_mlflow.{possum_model.name}")
    assert [feature["name"] for feature in sent["mlFeatures"]] == config.RAW
    assert "### In MLflow" in sent["description"]
    assert catalogue.look()["edges"] == [["possums_objects.possum_features", f"possums_mlflow.{possum_model.name}"]]


def test_make_hands_the_workflow_file_over() -> None:
    said = subprocess.run(
        ["make", "--dry-run", "ingest", "WORKFLOW=my.yaml"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1].endswith("-m local ingest my.yaml")


def test_openmetadatas_own_command_takes_the_file(
    catalogue: Catalogue, limited_to: Callable[[str], Path], possum_model: Registered, connector_python: Path
) -> None:
    workflow = limited_to(possum_model.name)
    command = [str(connector_python.with_name("metadata")), "ingest", "-c", str(workflow)]
    with connected_environment(workflow) as environment:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    ((body,),) = catalogue.sent("PUT", "mlmodels/bulk")
    assert body["name"] == possum_model.name
    assert TOKEN not in ended.stdout + ended.stderr
