"""The real connector, from the real MLflow to a server that validates what it is sent."""

import json
import os
import re
import socket
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from include import settings
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.server import READ_TIMEOUT

from .conftest import MODEL, PROBLEM, Runner
from .programs import Catalogue

# Seconds, read from the module: only the connector's environment can import it.
MODULE = (settings.INCLUDE / "openmetadata" / "connector.py").read_text()
(ANSWER,) = re.findall(r"^LIMITS = .*, (\d+)\)", MODULE, re.MULTILINE)


def register(source: str = "", run_id: str = "", name: str = "Odd ") -> str:
    """Register a model: with a version, if a source is given, else without versions."""
    hook, name = MLflowClientHook(), f"{name}{uuid4().hex[:8]}"
    hook.create_registered_model(name)
    if source:
        hook.create_model_version(name, source, run_id)
    return name


def without_files(run_id: str) -> str:
    return f"{MLflowClientHook().get_run(run_id)['info']['artifact_uri']}/nowhere"


def change_connection(monkeypatch: pytest.MonkeyPatch, name: str, **change: Any) -> None:
    variable = f"AIRFLOW_CONN_{name.upper()}"
    monkeypatch.setenv(variable, json.dumps(json.loads(os.environ[variable]) | change))


def test_a_model_arrives_with_features_and_parameters(run: Runner, catalogue: Catalogue) -> None:
    ran = run("ingest")

    ((body,),) = catalogue.sent("PUT", "mlmodels/bulk")
    assert ran.result == {"sent": [MODEL], "skipped": []}, ran.error
    assert body["description"] == PROBLEM.summary
    *others, odd = [feature["name"] for feature in body["mlFeatures"]]
    assert others == PROBLEM.inputs[:-1]
    assert odd == "an 'odd' name : with > and | and breaks, {{ braces }} and $"
    parameters = {parameter["name"]: parameter["value"] for parameter in body["mlHyperParameters"]}
    assert parameters == {"estimator": "RidgeCV", "train_rows": "20"}
    assert body["mlStore"]["storage"].startswith("mlflow-artifacts:/")


def test_a_model_with_an_odd_name_is_sent_and_completed(run: Runner, run_id: str) -> None:
    name = register(f"runs:/{run_id}/model", run_id, 'The "best" > all others. ')

    assert run("ingest", name).result == {"sent": [name], "skipped": []}
    assert run("complete", name).result == {name: "1"}


@pytest.mark.parametrize("prefix", ["Odd ", "Ann's "])
def test_a_model_without_versions_is_skipped_with_a_warning(prefix: str, run: Runner, catalogue: Catalogue) -> None:
    name = register(name=prefix)

    ran = run("ingest", name)

    assert ran.result == {"sent": [], "skipped": [name]}, ran.error
    assert f"{name} has no version yet: skipped" in ran.log
    assert catalogue.sent("PUT", "mlmodels/bulk") == []


def test_without_models_nothing_is_sent_and_nothing_deleted(run: Runner, catalogue: Catalogue) -> None:
    ran = run("ingest", "No model has this name")

    assert ran.result == {"sent": [], "skipped": []}
    assert "nothing is sent" in ran.log
    assert {call["method"] for call in catalogue.state()["calls"]} == {"GET"}


def test_a_signature_that_cannot_be_read_fails_the_run(run: Runner, run_id: str) -> None:
    name = register(without_files(run_id), run_id)

    ran = run("ingest", name)

    assert "Workflow Success %: 100.0" in ran.log  # the connector's own report
    assert f"{name}: Cannot read the model signature" in ran.error


def test_a_model_that_the_connector_drops_fails_the_run(run: Runner, run_id: str) -> None:
    name = register(without_files(run_id), run_id, "Odd " * 70)  # too long a name for OpenMetadata

    assert f"{name}: the connector dropped it" in run("ingest", name).error


def test_a_model_that_is_gone_from_mlflow_is_marked_as_deleted(run: Runner, catalogue: Catalogue, run_id: str) -> None:
    name = register(without_files(run_id), run_id)
    run("ingest", name)
    assert "deleted" not in catalogue.entity("mlmodels", f"mlflow.{name}")
    MLflowClientHook().delete_registered_model(name)

    run("ingest")

    assert catalogue.entity("mlmodels", f"mlflow.{name}")["deleted"] is True


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
    ids=str,
)
def test_what_the_server_rejects_fails_the_run_with_one_line(
    run: Runner, catalogue: Catalogue, failure: dict[str, Any], sentence: str
) -> None:
    catalogue.fail(**failure)

    ran = run("ingest", seconds=1)

    assert sentence in ran.error
    assert "\n" not in ran.error


CLOSED = "http://127.0.0.1:9"  # the port of a service that is not in use any more


@pytest.mark.parametrize(
    ("connection", "change", "sentence"),
    [
        ("openmetadata_default", {"password": "not-the-token"}, "it rejects the token (HTTP 401)"),
        ("openmetadata_default", {"host": CLOSED}, "Connection refused"),
        ("mlflow_default", {"password": "not-the-password"}, "401"),
        ("mlflow_default", {"host": CLOSED}, "Connection refused"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_within_a_minute(
    run: Runner,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    connection: str,
    change: dict[str, str],
    sentence: str,
) -> None:
    change_connection(monkeypatch, connection, **change)
    started = time.monotonic()

    ran = run("ingest")

    assert time.monotonic() - started < 60
    assert f"(connection {connection})" in ran.error
    assert sentence in ran.error
    assert "\n" not in ran.error
    assert catalogue.sent("PUT", "mlmodels/bulk") == []


# Seconds that a server really has for an answer; here it has one.
@pytest.mark.parametrize(("name", "granted"), [("openmetadata_default", int(ANSWER)), ("mlflow_default", READ_TIMEOUT)])
def test_a_silent_server_is_given_up_within_a_minute(
    run: Runner, monkeypatch: pytest.MonkeyPatch, name: str, granted: float
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        change_connection(monkeypatch, name, host=host, extra={"timeout": 1})

        ran = run("ingest", seconds=1)

        silent.setblocking(False)
        tries = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                tries += 1
    assert f"(connection {name})" in ran.error
    assert "timed out" in ran.error
    assert 0 < tries * granted < 60
