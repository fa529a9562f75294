"""The champion: who predicts with it, and the server that follows it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pandas as pd
import pytest
from airflow.dag_processing.dagbag import DagBag

from include import config
from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.serving import model_client
from local import __main__ as command_line
from local.airflow import Airflow
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline

log = logging.getLogger(__name__)
ROWS = pd.read_csv(config.POSSUM_CSV).head(3)


def crown(version: str) -> None:
    MLflowClientHook().set_registered_model_alias(config.REGISTERED_MODEL, config.CHAMPION_ALIAS, version)


@pytest.fixture(scope="module")
def versions(first: Pipeline, second: Pipeline) -> Iterator[tuple[str, str]]:
    """Two versions, the older of which is the champion; afterwards whoever was it before is it again."""
    hook = MLflowClientHook()
    try:
        before = hook.get_model_version_by_alias(config.REGISTERED_MODEL, config.CHAMPION_ALIAS)["version"]
    except MLflowAPIError:
        before = None
    crown(first.said["train"]["version"])
    yield first.said["train"]["version"], second.said["train"]["version"]
    if before:
        crown(before)
    else:
        hook.delete_registered_model_alias(config.REGISTERED_MODEL, config.CHAMPION_ALIAS)


@pytest.fixture(scope="module")
def url(stack: Stack, versions: tuple[str, str]) -> Iterator[str]:
    """The address of the model server, with the older version answering."""
    stack.start(["serve"])
    model_client.smoke_test(stack.settings.serve_url, ROWS, version=versions[0])
    yield stack.settings.serve_url
    stack.stop_program("model-server")


def test_no_request_fails_while_another_version_becomes_champion(url: str, versions: tuple[str, str]) -> None:
    moved, answers = Event(), []
    body = {"dataframe_records": ROWS[config.RAW].to_dict("records")}

    def hammer() -> None:
        with httpx.Client(timeout=30) as client:
            while not (moved.is_set() and answers[-1][1] == versions[1]):
                answer = client.post(f"{url}/invocations", json=body)
                answers.append((answer.status_code, answer.headers[model_client.VERSION_HEADER]))

    with ThreadPoolExecutor(2) as clients:
        hammering = [clients.submit(hammer) for _ in range(2)]
        model_client.smoke_test(url, ROWS, version=versions[0])
        crown(versions[1])
        started = time.monotonic()
        moved.set()
        for client in hammering:
            client.result(timeout=60)
    log.info("%s requests, the other version after %.1f s", len(answers), time.monotonic() - started)
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == set(versions)
    crown(versions[0])


def test_a_malformed_row_is_refused_with_the_reason(url: str) -> None:
    body = {"dataframe_records": ROWS[config.RAW].assign(sex="x").to_dict("records")}
    answer = httpx.post(f"{url}/invocations", json=body)
    assert answer.status_code == 400
    assert "row 1, column sex: x must be one of f, m" in answer.json()["message"]


def test_a_promotion_asks_the_server_for_the_version_that_it_promoted(
    url: str, first: Pipeline, versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MODEL_SERVER", url)
    task: Any = DagBag(Path(__file__).parents[2] / "dags" / "promote.py").dags["promote"].get_task("call_model_server")
    promoted = {"promoted": True, "version": versions[0], "features_uri": first.said["feature_eng"]["uri"]}

    assert versions[0] in task.python_callable(promoted)


def test_status_says_where_the_model_is_served(
    url: str, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "console", command_line.Console(highlight=False, width=200))
    command_line.status(stack, [])
    assert f"Model    is ready at {url}" in capsys.readouterr().out


def test_the_trail_of_a_file_is_printed(
    stack: Stack, first: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "console", command_line.Console(highlight=False, width=200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "_connect", lambda settings: None)  # the session has the connections already
        assert command_line.trace(stack, [first.said["predict"]["uri"]]) == 0
    printed = capsys.readouterr().out
    assert f"{config.REGISTERED_MODEL} version {first.said['predict']['version']}" in printed
    assert first.said["feature_eng"]["uri"] in printed
    assert first.runs["predict"] in printed


def test_predict_uses_the_champion_though_it_is_not_the_newest(
    airflow: Airflow, first: Pipeline, versions: tuple[str, str]
) -> None:
    run_id = airflow.trigger("predict")
    assert airflow.wait("predict", run_id) == "success"
    said = airflow.events("predict", run_id)[-1]["extra"]
    assert (said["version"], said["alias"]) == (versions[0], config.CHAMPION_ALIAS)
