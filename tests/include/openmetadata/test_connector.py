"""The real connector, from the real MLflow to a server that validates what it is sent."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from include import settings
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.server import READ_TIMEOUT

from .conftest import PROBLEM, Model, Run
from .programs import Catalogue

Runner = Callable[..., Run]
# Seconds, read from the module: only the connector's environment can import it.
(ANSWER,) = re.findall(
    r"^LIMITS = .*, (\d+)\)", (settings.INCLUDE / "openmetadata" / "servers.py").read_text(), re.MULTILINE
)


def register(run_id: str = "", prefix: str = "Odd ") -> str:
    """Register a model: with a version that has no files, if a run is given, else without versions."""
    hook = MLflowClientHook()
    name = f"{prefix}{uuid4().hex[:8]}"
    hook.create_registered_model(name)
    if run_id:
        hook.create_model_version(name, f"{hook.get_run(run_id)['info']['artifact_uri']}/nowhere", run_id)
    return name


def test_a_model_arrives_with_features_and_parameters(run: Runner, catalogue: Catalogue, model: Model) -> None:
    ran = run("ingest")

    ((body,),) = catalogue.sent("PUT", "mlmodels/bulk")
    print(json.dumps(body, indent=2))  # noqa: T201 # for a reader of the test's output
    assert ran.result == {"sent": [model.name], "skipped": []}, ran.error
    assert body["description"] == PROBLEM.summary
    *others, odd = [feature["name"] for feature in body["mlFeatures"]]
    assert others == PROBLEM.inputs[:-1]
    assert odd == "an 'odd' name : with > and | and breaks, {{ braces }} and $"
    parameters = {parameter["name"]: parameter["value"] for parameter in body["mlHyperParameters"]}
    assert parameters == {"estimator": "RidgeCV", "train_rows": "20"}
    assert body["mlStore"]["storage"].startswith("mlflow-artifacts:/")


def test_a_model_with_an_odd_name_is_sent_and_completed(run: Runner, catalogue: Catalogue, model: Model) -> None:
    hook, name = MLflowClientHook(), f'The "best" > all others. {uuid4().hex[:8]}'
    hook.create_registered_model(name)
    hook.create_model_version(name, f"runs:/{model.run_id}/model", model.run_id)

    assert run("ingest", name).result == {"sent": [name], "skipped": []}
    assert run("complete", name).result == {name: "1"}


@pytest.mark.parametrize("prefix", ["Odd ", "Ann's "])
def test_a_model_without_versions_is_skipped_with_a_warning(prefix: str, run: Runner, catalogue: Catalogue) -> None:
    name = register(prefix=prefix)

    ran = run("ingest", name)

    assert ran.result == {"sent": [], "skipped": [name]}, ran.error
    assert f"{name} has no version yet: skipped" in ran.log
    assert catalogue.sent("PUT", "mlmodels/bulk") == []


def test_without_models_nothing_is_sent_and_nothing_deleted(run: Runner, catalogue: Catalogue) -> None:
    ran = run("ingest", "No model has this name")

    assert ran.result == {"sent": [], "skipped": []}
    assert "nothing is sent" in ran.log
    assert {call["method"] for call in catalogue.state()["calls"]} == {"GET"}


def test_a_signature_that_cannot_be_read_fails_the_run(run: Runner, model: Model) -> None:
    name = register(model.run_id)

    ran = run("ingest", name)

    assert "Workflow Success %: 100.0" in ran.log  # the connector's own report
    assert f"{name}: Cannot read the model signature" in ran.error


def test_a_model_that_the_connector_drops_fails_the_run(run: Runner, model: Model) -> None:
    name = register(model.run_id, prefix="Odd " * 70)  # too long a name for OpenMetadata

    ran = run("ingest", name)

    assert f"{name}: the connector dropped it" in ran.error


def test_a_model_that_is_gone_from_mlflow_is_marked_as_deleted(run: Runner, catalogue: Catalogue, model: Model) -> None:
    name = register(model.run_id)
    catalogue_name = f"mlflow.{name}"
    run("ingest", name)
    assert "deleted" not in catalogue.entity("mlmodels", catalogue_name)
    MLflowClientHook().delete_registered_model(name)

    run("ingest")

    assert catalogue.entity("mlmodels", catalogue_name)["deleted"] is True


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        ({"path": "system/version", "version": "1.9.3"}, "Server version is 1.9.3 vs. Client version 2.0.6"),
        ({"path": "system/version", "status": 500}, "Cannot read the server version"),
        ({"path": "system/version", "lag": 3}, "timed out"),
        ({"path": "mlmodels/bulk", "status": 409}, "a failure of this test"),
        ({"path": "mlmodels/bulk", "status": 500}, "a failure of this test"),
        ({"path": "services/mlmodelServices", "method": "PUT", "status": 500}, "mlmodel"),
        ({"path": "mlmodels/deleteStale", "status": 500}, "Error deleting"),
    ],
    ids=lambda value: "-".join(str(part) for part in value.values()) if isinstance(value, dict) else "",
)
def test_what_the_server_rejects_fails_the_run_with_one_line(
    run: Runner, catalogue: Catalogue, failure: dict[str, Any], sentence: str
) -> None:
    catalogue.fail(**failure)

    ran = run("ingest", seconds=1)

    assert sentence in ran.error
    assert "\n" not in ran.error


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("connection", "change", "sentence"),
    [
        ("openmetadata_default", {"password": "not-the-token"}, "it rejects the token (HTTP 401)"),
        ("openmetadata_default", {"host": closed_port()}, "Connection refused"),
        ("mlflow_default", {"password": "not-the-password"}, "401"),
        ("mlflow_default", {"host": closed_port()}, "Connection refused"),
    ],
    ids=["wrong token", "OpenMetadata down", "wrong password", "MLflow down"],
)
def test_a_server_that_cannot_be_used_is_named_within_a_minute(
    run: Runner,
    services: dict[str, Any],
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    connection: str,
    change: dict[str, str],
    sentence: str,
) -> None:
    variable = f"AIRFLOW_CONN_{connection.upper()}"
    monkeypatch.setenv(variable, json.dumps(json.loads(os.environ[variable]) | change))
    started = time.monotonic()

    ran = run("ingest")

    assert time.monotonic() - started < 60
    assert f"(connection {connection})" in ran.error
    assert sentence in ran.error
    assert "\n" not in ran.error
    assert catalogue.sent("PUT", "mlmodels/bulk") == []


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers; those that wait can be counted."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening


def waiting(listening: socket.socket) -> int:
    """Return how many connections were made."""
    listening.setblocking(False)
    number = 0
    with suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            number += 1
    return number


# Seconds that a server really has for an answer; here it has one.
GRANTED = {"openmetadata_default": int(ANSWER), "mlflow_default": READ_TIMEOUT}


@pytest.mark.parametrize("connection", GRANTED)
@pytest.mark.usefixtures("catalogue")
def test_a_silent_server_is_given_up_within_a_minute(
    run: Runner, services: dict[str, Any], silent: socket.socket, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    variable = f"AIRFLOW_CONN_{connection.upper()}"
    change = {"host": f"http://127.0.0.1:{silent.getsockname()[1]}", "extra": {"timeout": 1}}
    monkeypatch.setenv(variable, json.dumps(json.loads(os.environ[variable]) | change))

    ran = run("ingest", seconds=1)

    assert f"(connection {connection})" in ran.error
    assert "timed out" in ran.error
    assert 0 < waiting(silent) * GRANTED[connection] < 60
