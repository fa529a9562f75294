"""The champion: the predictions made with it, and the server that follows it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from threading import Event
from typing import Any

import httpx
import pandas as pd
import pytest

from include.problem import PROBLEM
from include.services import champions
from include.services.champions import CHAMPION_ALIAS, MODEL
from include.serving import model_client
from include.tasks import promote
from local import __main__ as command_line
from local.airflow import Airflow
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, read_rows, spoil, wait_for_success

log = logging.getLogger(__name__)
ROWS = read_rows()[PROBLEM.inputs].head(3)


def make_champion(version: str) -> None:
    champions.connect().set_registered_model_alias(MODEL, CHAMPION_ALIAS, version)


def in_json(rows: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_records": json.loads(rows.to_json(orient="records"))}


@pytest.fixture(scope="module")
def versions(first: Pipeline, second: Pipeline) -> Iterator[tuple[str, str]]:
    """Two versions, the older of which is the champion; the previous champion is restored at the end."""
    before = champions.champion()
    make_champion(first.events["train"]["version"])
    yield first.events["train"]["version"], second.events["train"]["version"]
    if before:
        make_champion(before)
    else:
        champions.connect().delete_registered_model_alias(MODEL, CHAMPION_ALIAS)


@pytest.fixture(scope="module")
def url(stack: Stack, versions: tuple[str, str]) -> Iterator[str]:
    """The address of the model server, with the older version answering."""
    stack.start(["serve"])
    model_client.smoke_test(stack.settings.serve_url, ROWS, version=versions[0])
    yield stack.settings.serve_url
    stack.stop_program("model-server")


def test_no_request_fails_while_another_version_becomes_champion(url: str, versions: tuple[str, str]) -> None:
    moved, answers = Event(), []
    body = in_json(ROWS)

    def hammer() -> None:
        version = ""
        with httpx.Client(timeout=30) as client:
            while not (moved.is_set() and version == versions[1]):
                answer = client.post(f"{url}/invocations", json=body)
                version = answer.headers[model_client.VERSION_HEADER]
                answers.append((answer.status_code, version))

    with ThreadPoolExecutor(2) as clients:
        hammering = [clients.submit(hammer) for _ in range(2)]
        while not answers:
            assert not any(client.done() for client in hammering)
        make_champion(versions[1])
        started = time.monotonic()
        moved.set()
        for client in hammering:
            client.result(timeout=60)
    log.info("%s requests, the other version after %.1f s", len(answers), time.monotonic() - started)
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == set(versions)
    make_champion(versions[0])


def test_impossible_values_are_rejected_with_every_reason(url: str) -> None:
    # MLflow itself rejects texts in place of numbers.
    spoiled, reasons = spoil(ROWS, PROBLEM.categories)
    for column in map(PROBLEM.number, PROBLEM.numbers):
        if isfinite(column.possible[1]):
            spoiled.loc[spoiled.index[0], column.name] = 2 * column.possible[1]
            reasons.append(f"column {column.name}: {2.0 * column.possible[1]} is impossible")
    response = httpx.post(f"{url}/invocations", json=in_json(spoiled))
    assert reasons
    assert response.status_code == 400
    assert [reason for reason in reasons if f"row 1, {reason}" not in response.json()["message"]] == []


def test_a_promoted_version_is_called_over_http(
    url: str, first: Pipeline, versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote, "MODEL_SERVER", url)
    event = {"promoted": True, "version": versions[0], "features_uri": first.events["feature_eng"]["uri"]}

    assert f"version {versions[0]} at {url} predicted" in promote.call_model_server(event)


def test_status_prints_the_address_of_the_model_server(
    url: str, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "console", command_line.Console(highlight=False, width=200))
    command_line.status(stack, [])
    assert f"Model    is ready at {url}" in capsys.readouterr().out


def test_trace_prints_the_trail_of_a_file(
    stack: Stack, first: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "console", command_line.Console(highlight=False, width=200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "_connect", lambda settings: None)  # the session has the connections already
        assert command_line.trace(stack, [first.events["predict"]["uri"]]) == 0
    printed = capsys.readouterr().out
    assert f"{MODEL} version {first.events['predict']['version']}" in printed
    assert first.events["feature_eng"]["uri"] in printed
    assert first.runs["predict"] in printed


def test_predict_uses_the_champion_even_if_another_version_is_newer(
    airflow: Airflow, first: Pipeline, versions: tuple[str, str]
) -> None:
    run_id = airflow.trigger("predict")
    wait_for_success(airflow, "predict", run_id)
    event = airflow.events("predict", run_id)[-1]["extra"]
    assert (event["version"], event["alias"]) == (versions[0], CHAMPION_ALIAS)
