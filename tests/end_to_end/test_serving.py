"""The champion: the predictions made with it, and the server that follows it."""

from collections.abc import Iterator

import pytest

from include.problem import PROBLEM
from include.services.champions import MODEL
from include.serving import model_client
from include.tasks import promote
from local import __main__ as command_line
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, champion_is, read_rows

ROWS = read_rows()[PROBLEM.inputs].head(3)


@pytest.fixture(scope="module")
def versions(first: Pipeline, second: Pipeline) -> Iterator[tuple[str, str]]:
    """Two versions, the older of which is the champion."""
    older, newer = first.events["train"]["version"], second.events["train"]["version"]
    with champion_is(older):
        yield older, newer


@pytest.fixture(scope="module")
def url(stack: Stack, versions: tuple[str, str]) -> Iterator[str]:
    """The address of the model server, with the older version answering."""
    stack.start(["serve"])
    model_client.smoke_test(stack.settings.url("serve"), ROWS, version=versions[0])
    yield stack.settings.url("serve")
    stack.stop_program("model-server")


def test_a_promoted_version_is_called_over_http(
    url: str, first: Pipeline, versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote, "MODEL_SERVER", url)
    event = {"promoted": True, "version": versions[0], "features_uri": first.events["feature_eng"]["uri"]}

    assert f"version {versions[0]} at {url} predicted" in promote.call_model_server(event)


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
