import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from include.problem import PROBLEM
from include.serving import guard, model_client, model_server, scoring
from include.serving.guard import ExposedError, Guard, Rules, read_rules
from include.serving.metrics import Metrics
from include.serving.model_client import ServingError, smoke_test
from include.serving.model_server import ChampionServer

from .conftest import Records, connect, serving, wait_until

LIMIT = 1_000_000  # bytes
TOKEN = "a secret"
EVERYWHERE = "0.0.0.0"  # noqa: S104 # nothing listens there
JSON = {"Content-Type": "application/json"}
NUMBER = PROBLEM.numbers[0]


@pytest.fixture(scope="module")
def server(stored: Any) -> Iterator[ChampionServer]:
    server = ChampionServer()
    server.serve("1", stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_server, "find_champion", lambda: None)
        yield server


@pytest.fixture(scope="module")
def url(server: ChampionServer) -> Iterator[str]:
    with serving(Guard(server, Rules(limit=LIMIT, wait=1, seconds=20))) as url:
        yield url


def write(records: Any) -> str:
    return json.dumps({"dataframe_records": records})


SPLIT = {"columns": [NUMBER, NUMBER], "data": [[1, 2]]}
REFUSED: list[tuple[str, Any, int, str]] = [
    ("application/json", "rows", 400, "the body is not JSON: Expecting value"),
    ("application/json", b"\xff\xfe", 400, "the body is not JSON"),
    ("application/json", "[1]", 400, "JSON dictionary"),
    ("application/json", "[" * 100_000, 400, "the JSON is nested too deeply"),
    ("application/json", '{"dataframe_records": ' + "[" * 100_000, 400, "nested too deeply"),
    ("application/json", '{"dataframe_records": [{"x": 1}]}', 400, f"column {NUMBER} is missing"),
    ("application/json", json.dumps({"dataframe_split": SPLIT}), 400, f"more than one column {NUMBER}"),
    ("application/json", '{"messages": []}', 400, ""),
    ("application/json", " " * (LIMIT + 1), 413, "a request may have 1 MB (MAX_REQUEST_MB)"),
    ("text/csv", "x\n" + "1\n" * 200_000, 413, "a request may have 100,000 rows (MAX_REQUEST_ROWS)"),
    ("application/json", json.dumps({"dataframe_split": {"data": [[]] * 200_000}}), 413, "MAX_REQUEST_ROWS"),
    ("text/plain", "rows", 415, "only supports the following content types"),
    ("application/vnd.apache.parquet", "rows", 400, "Failed to parse input"),
    ("application/json; charset=latin-1", "{}", 415, "UTF-8"),
    ("", "{}", 415, "content types"),
]


@pytest.mark.parametrize(("content_type", "body", "status", "text"), REFUSED)
def test_a_request_that_cannot_be_used_is_refused_with_the_reason(
    url: str, content_type: str, body: Any, status: int, text: str
) -> None:
    answer = httpx.post(f"{url}/invocations", content=body, headers={"Content-Type": content_type}, timeout=30)

    assert answer.status_code == status
    assert text in answer.text or text in answer.json()["message"]
    assert "Traceback" not in answer.text
    assert len(answer.content) < 50_000


def test_nan_is_a_missing_number_and_an_infinity_an_impossible_one(url: str, records: Records) -> None:
    nan, infinity = (write([records[0] | {NUMBER: value}]) for value in (float("nan"), float("inf")))

    accepted, refused = (httpx.post(f"{url}/invocations", content=body, headers=JSON) for body in (nan, infinity))

    assert accepted.status_code == 200
    assert refused.status_code == 400
    assert f"row 1, column {NUMBER}: inf is impossible" in refused.json()["message"]


def test_another_method_or_path_is_refused_with_those_that_there_are(url: str) -> None:
    method, path = httpx.get(f"{url}/invocations"), httpx.get(f"{url}/docs")

    assert (method.status_code, method.headers["Allow"]) == (405, "POST")
    assert path.status_code == 404
    assert "/invocations" in path.text


def test_a_name_that_is_not_the_servers_is_refused(server: ChampionServer) -> None:
    with serving(Guard(server, Rules(hosts=("localhost", "127.0.0.1", "models.example.com")))) as url:
        answers = [
            httpx.get(f"{url}/ping", headers={"Host": host}).status_code
            for host in ("127.0.0.1", "localhost:5002", "MODELS.example.com:80", "evil.example.com")
        ]

    assert answers == [200, 200, 200, 403]


@pytest.fixture(scope="module")
def guarded(server: ChampionServer) -> Iterator[str]:
    with serving(Guard(server, Rules(TOKEN))) as url:
        yield url


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN}!"}])
def test_without_the_token_only_probes_are_answered(guarded: str, records: Records, given: dict[str, str]) -> None:
    asked = httpx.post(f"{guarded}/invocations", content=write(records), headers=JSON | given)

    assert (asked.status_code, asked.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert httpx.get(f"{guarded}/version", headers=given).status_code == 401
    assert httpx.get(f"{guarded}/ping", headers=given).status_code == 200


def test_the_client_sends_the_token_of_the_file(
    guarded: str, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ServingError, match="401"):
        smoke_test(guarded, rows)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setattr(model_client, "SERVE_TOKEN_FILE", str(tmp_path / "token"))

    assert "predicted 3 rows" in smoke_test(guarded, rows)


def test_another_address_than_loopback_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert read_rules(host).token == ""
    for host in (EVERYWHERE, "::", "192.0.2.1", "models.example.com"):
        with pytest.raises(ExposedError, match="SERVE_TOKEN_FILE"):
            read_rules(host)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setattr(model_client, "SERVE_TOKEN_FILE", str(tmp_path / "token"))

    assert read_rules(EVERYWHERE).token == TOKEN
    assert TOKEN not in repr(read_rules(EVERYWHERE))


def test_an_empty_token_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("\n")
    monkeypatch.setattr(model_client, "SERVE_TOKEN_FILE", str(tmp_path / "token"))

    with pytest.raises(ServingError, match="is empty"):
        read_rules("127.0.0.1")


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (b"", b""),  # closed without a response, as there is no request
        (b"POST /invocations HTTP/1.1\r\nHost: loc", b""),
        (b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{", b"HTTP/1.1 408"),
    ],
)
def test_a_slow_client_is_not_waited_for(
    server: ChampionServer, monkeypatch: pytest.MonkeyPatch, sent: bytes, received: bytes
) -> None:
    monkeypatch.setattr(guard, "MAX_WAIT", 0.5)
    with serving(Guard(server, Rules(wait=0.5))) as url, connect(url) as connection:
        connection.sendall(sent)

        assert connection.recv(12) == received


def test_a_part_of_a_request_is_not_taken_for_all_of_it(
    server: ChampionServer, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    monkeypatch.setattr(server, "observers", [answers.append])
    body = rows.to_csv(index=False).encode()
    head = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {len(body) + 9}"
    counted = Metrics(ChampionServer())
    with serving(counted.measure(Guard(server))) as url:
        with connect(url) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode() + body)
        wait_until(lambda: counted.registry.get_sample_value("model_server_requests_total", {"status": "400"}))

    assert len(answers) == 0


def test_a_client_that_sends_a_byte_at_a_time_is_not_waited_for(
    server: ChampionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_WAIT", 0.5)
    with serving(Guard(server)) as url, connect(url) as connection:
        started = time.monotonic()
        with suppress(OSError):  # reset or broken pipe
            for byte in b"GET /ping HTTP/1.1\r\nHost: " + b"x" * 200:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

    assert time.monotonic() - started < 5


def test_bodies_in_memory_are_bounded_and_released(
    server: ChampionServer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = write(records).encode()
    monkeypatch.setattr(guard, "MAX_BODIES", 1)
    monkeypatch.setattr(scoring.Scorer, "answer_clean", lambda *_: None)  # it is answered in a thread
    answer, released = scoring.Scorer.answer, threading.Event()
    monkeypatch.setattr(scoring.Scorer, "answer", lambda *given: released.wait(30) and answer(*given))
    guarded = Guard(server, Rules(limit=len(body)))
    with serving(guarded) as url, ThreadPoolExecutor(1) as other:
        first = other.submit(httpx.post, f"{url}/invocations", content=body, headers=JSON, timeout=60)
        wait_until(lambda: guarded._held)
        refused = httpx.post(f"{url}/invocations", content=body, headers=JSON)
        probed = httpx.get(f"{url}/ping")
        released.set()
        first.result()
        again = httpx.post(f"{url}/invocations", content=body, headers=JSON, timeout=60)

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert [probed.status_code, first.result().status_code, again.status_code] == [200, 200, 200]
    assert guarded._held == 0


def test_an_answer_that_takes_too_long_is_given_up(
    server: ChampionServer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(scoring.Scorer, "answer", lambda *_: released.wait(30))
    with serving(Guard(server, Rules(seconds=0.3))) as url:
        answer = httpx.post(f"{url}/invocations", content="{}", headers=JSON)
        released.set()

    assert answer.status_code == 504
    assert "no answer within 0.3 s" in answer.text


VALUES: list[Any] = [None, True, 0, -1, 1.5, 10**400, float("nan"), float("inf"), "", "1", "\ud800", "x" * 1000, [], {}]
KEYS = ["dataframe_records", "dataframe_split", "inputs", "instances", "params", "columns", "data", "index", "messages"]


def make_value(rng: random.Random, depth: int = 0) -> Any:
    """Return random JSON with the words of the protocol and of the table."""
    kind = rng.random() if depth < 4 else 0
    if kind < 0.4:
        return rng.choice(VALUES)
    if kind < 0.7:
        return [make_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice([*KEYS, *PROBLEM.inputs]): make_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def make_body(rng: random.Random, records: Records) -> bytes:
    if rng.random() < 0.5:
        return json.dumps({rng.choice(KEYS): make_value(rng), "params": make_value(rng, 3)}).encode()
    body = bytearray(write([rng.choice(records) | {rng.choice(PROBLEM.inputs): make_value(rng)}]).encode())
    for _ in range(rng.randrange(3)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body[: rng.choice([len(body), len(body), rng.randrange(len(body))])])


def test_no_request_makes_the_server_fail(url: str, records: Records) -> None:
    types = ["application/json"] * 4 + ["text/csv", "application/vnd.apache.parquet", "x"]
    rng, found = random.Random(0), {}
    with httpx.Client(base_url=url, timeout=60) as client:
        for _ in range(300):
            body, content_type = make_body(rng, records), rng.choice(types)
            answer = client.post("/invocations", content=body, headers={"Content-Type": content_type})
            found.setdefault(answer.status_code, body)

    assert {200, 400, 415} <= set(found)
    assert [found[status] for status in found if status >= 500] == []
