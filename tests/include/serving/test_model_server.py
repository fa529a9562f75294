from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pandas as pd
import pytest
import uvicorn

from include import config
from include.serving import model_client, model_server
from include.serving.model_client import ServingError, is_up, served_version, smoke_test
from include.serving.model_server import ChampionServer
from tests.include.conftest import Tails

ROWS = pd.read_csv(config.POSSUM_CSV).head(3)
RECORDS = ROWS[config.RAW].to_dict("records")


@pytest.fixture
def url(tails: Tails, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A model server without a champion, on a port of its own; it looks at the alias four times a second."""
    monkeypatch.setattr(model_server, "POLL", 0.25)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(ChampionServer(), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture
def champion(tails: Tails, url: str) -> str:
    """The server's address, version 1 answering."""
    tails.crown("1")
    wait_until(lambda: served_version(url) == "1")
    return url


def wait_until(condition: Any, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(url: str, records: Any) -> httpx.Response:
    return httpx.post(f"{url}/invocations", json={"dataframe_records": records}, timeout=30)


def test_the_champion_answers_with_intervals_and_its_version(champion: str) -> None:
    answer = ask(champion, RECORDS)

    assert answer.status_code == 200
    assert answer.headers["X-Model-Version"] == "1"
    expected = [{"prediction": length, "lower": length - 2, "upper": length + 2} for length in ROWS["totlngth"] * 0.42]
    assert [pytest.approx(row) for row in answer.json()["predictions"]] == expected


@pytest.mark.parametrize("path", ["ping", "health", "version"])
def test_it_answers_where_mlflows_own_server_does(champion: str, path: str) -> None:
    assert httpx.get(f"{champion}/{path}").status_code == 200


def test_tables_of_comma_separated_values_are_taken_too(champion: str) -> None:
    content = ROWS[config.RAW].to_csv(index=False)

    answer = httpx.post(f"{champion}/invocations", content=content, headers={"Content-Type": "text/csv"})

    assert len(answer.json()["predictions"]) == 3


def test_without_a_champion_it_says_so_and_waits_for_one(tails: Tails, url: str) -> None:
    answer = ask(url, RECORDS)

    assert answer.status_code == 503
    assert "no version with the alias champion" in answer.text
    assert is_up(url)
    assert served_version(url) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sex": "x"}, "row 1, column sex: x must be one of f, m"),
        ({"age": -1.0}, "row 1, column age: -1.0 is impossible (0 to 25 years)"),
        ({"hdlngth": "long"}, "long"),
        ({"Pop": None}, "row 1, column Pop"),
    ],
)
def test_a_malformed_row_is_refused_with_the_reason(champion: str, change: dict[str, Any], reason: str) -> None:
    answer = ask(champion, [RECORDS[0] | change])

    assert answer.status_code == 400
    assert reason in answer.json()["message"]


def test_a_missing_column_is_refused_by_name(champion: str) -> None:
    answer = ask(champion, [{name: value for name, value in RECORDS[0].items() if name != "hdlngth"}])

    assert answer.status_code == 400
    assert "hdlngth" in answer.json()["message"]


def test_a_row_may_lack_a_measurement(champion: str) -> None:
    assert ask(champion, [RECORDS[0] | {"age": None}]).status_code == 200


@pytest.mark.parametrize("body", ["not JSON", '{"rows": []}', "[1, 2]", '{"dataframe_records": []}'])
def test_what_is_no_table_is_refused(champion: str, body: str) -> None:
    answer = httpx.post(f"{champion}/invocations", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["message"]


def test_the_next_champion_takes_over_and_no_request_fails(tails: Tails, champion: str) -> None:
    moved = threading.Event()
    answers: list[tuple[int, str]] = []

    def hammer() -> None:
        while not (moved.is_set() and answers[-1][1] == "2"):
            answer = ask(champion, RECORDS)
            answers.append((answer.status_code, answer.headers["X-Model-Version"]))

    with ThreadPoolExecutor(4) as clients:
        hammering = [clients.submit(hammer) for _ in range(4)]
        wait_until(lambda: len(answers) >= 40)
        tails.crown("2")
        started = time.monotonic()
        moved.set()
        for client in hammering:
            client.result(timeout=60)
    assert time.monotonic() - started < 60
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"1", "2"}


def test_a_version_that_cannot_be_loaded_replaces_nothing(
    tails: Tails, champion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def broken(uri: str) -> None:
        tried.set()
        raise OSError(f"{uri} is broken")

    with monkeypatch.context() as patch:
        patch.setattr(model_server, "load_version", broken)
        tails.crown("2")
        assert tried.wait(30)
        assert ask(champion, RECORDS).headers["X-Model-Version"] == "1"
    wait_until(lambda: served_version(champion) == "2")


def test_the_smoke_test_waits_for_the_version_and_tells_what_it_found(tails: Tails, champion: str) -> None:
    tails.crown("2")

    assert smoke_test(champion, ROWS, version="2").startswith(f"version 2 at {champion} predicted 3 rows in ")


def test_the_smoke_test_fails_if_another_version_answers(champion: str) -> None:
    with pytest.raises(ServingError, match="answers with version 1 after 0 s, not 7"):
        smoke_test(champion, ROWS, version="7", timeout=0.1)


def test_the_smoke_test_fails_if_rows_are_refused(champion: str) -> None:
    with pytest.raises(ServingError, match=r"answered 400, version 1: .*sex"):
        smoke_test(champion, ROWS.assign(sex="x"))


@pytest.mark.parametrize(
    "prediction",
    [-1.0, {"prediction": None}, {"prediction": float("nan")}, {"prediction": 36.0, "lower": 38.0, "upper": 34.0}],
)
def test_a_prediction_that_is_no_length_is_not_sound(prediction: Any) -> None:
    assert not model_client._is_sound(prediction)


def test_a_server_that_is_not_up_is_told_from_one_that_is() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    assert not is_up(url)
    with pytest.raises(ServingError, match=r"Is the model server up\? make serve"):
        smoke_test(url, ROWS)
