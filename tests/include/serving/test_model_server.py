import json
import math
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from include.problem import PROBLEM
from include.services import champions, tracking
from include.serving import checked_model, model_client, model_server
from include.serving.checked_model import CheckedModel
from include.serving.guard import Guard, Rules
from include.serving.model_client import ServingError, is_up, served_version, smoke_test
from include.serving.model_server import ChampionServer
from include.spec import Category, Limits

from ...network import free_port
from ..conftest import Registered
from .conftest import Records, ask, connect, fit, serving, wait_until

CATEGORIES = [column for column in PROBLEM.features if isinstance(column, Category)]
STRICT = [column.name for column in CATEGORIES if column.levels and column.new_levels == "error"]
REQUIRED = [column.name for column in CATEGORIES if not column.nullable]
BOUNDED = [name for name in PROBLEM.numbers if math.isfinite(PROBLEM.number(name).possible[0])]
ANSWER = {"prediction": 36.0, "lower": 34.0, "upper": 38.0, "warnings": ""}  # of models/constant.py
# A number of each column that is possible, but outside of its expected range.
UNEXPECTED = {
    name: possible
    for name in PROBLEM.numbers
    for possible, expected in zip(PROBLEM.number(name).possible, PROBLEM.number(name).expected, strict=True)
    if possible != expected and math.isfinite(possible)
}
LIMIT = 100_000  # bytes of a request


@pytest.fixture
def url(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A model server without a champion, on a free port; it reads the alias four times a second."""
    monkeypatch.setattr(model_server, "POLL", 0.25)
    with serving(Guard(ChampionServer(), Rules(limit=LIMIT))) as url:
        yield url


@pytest.fixture
def champion(registered: Registered, url: str) -> str:
    """The server's address, version 1 answering."""
    registered.promote("1")
    wait_until(lambda: served_version(url) == "1")
    return url


def test_the_champion_answers_with_intervals_and_its_version(champion: str, records: Records) -> None:
    answer = ask(champion, records)

    assert answer.status_code == 200
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.json()["predictions"] == [ANSWER] * 3


@pytest.mark.parametrize("path", ["ping", "health", "version"])
def test_it_has_the_addresses_of_mlflows_own_server(champion: str, path: str) -> None:
    assert httpx.get(f"{champion}/{path}").status_code == 200


def test_rows_may_be_comma_separated_values(champion: str, rows: pd.DataFrame) -> None:
    content = rows.to_csv(index=False)

    answer = httpx.post(f"{champion}/invocations", content=content, headers={"Content-Type": "text/csv"})

    assert len(answer.json()["predictions"]) == 3


def test_without_a_champion_the_answer_is_503_with_the_reason(url: str, records: Records) -> None:
    answer = ask(url, records)

    assert answer.status_code == 503
    assert "no version with the alias champion" in answer.text
    assert is_up(url)
    assert served_version(url) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *[({name: "no such level"}, f"row 1, column {name}: no such level is not one of ") for name in STRICT],
        *[({name: None}, f"row 1, column {name}") for name in REQUIRED],
        *[({name: PROBLEM.number(name).possible[0] - 1}, f"row 1, column {name}: ") for name in BOUNDED],
        *[({name: "text"}, "text") for name in PROBLEM.numbers[:1]],
    ],
)
def test_a_row_that_cannot_be_used_is_refused_with_the_reason(
    champion: str, records: Records, change: dict[str, Any], reason: str
) -> None:
    answer = ask(champion, [records[0] | change])

    assert answer.status_code == 400
    assert reason in answer.json()["message"]


@pytest.mark.parametrize(("name", "number"), UNEXPECTED.items())
def test_a_number_outside_of_its_expected_range_is_predicted_with_a_warning(
    champion: str, records: Records, name: str, number: float
) -> None:
    answer = ask(champion, [records[0], records[1] | {name: number}])

    assert answer.status_code == 200
    first, second = answer.json()["predictions"]
    assert first == ANSWER
    assert second["warnings"].startswith(f"{name} {number:g} is outside of the expected ")


def test_a_number_outside_of_its_expected_range_is_refused_where_the_problem_says_so(
    champion: str, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_model, "PROBLEM", replace(PROBLEM, limits=Limits(unexpected="error")))
    name, number = next(iter(UNEXPECTED.items()))

    answer = ask(champion, [records[0], records[1] | {name: number}])

    assert answer.status_code == 400
    assert f"row 2, column {name}: " in answer.json()["message"]
    assert ask(champion, records).status_code == 200


class Model:
    """A loaded model that predicts this."""

    metadata = None

    def __init__(self, predicted: Any) -> None:
        self.predicted = predicted

    def predict(self, rows: pd.DataFrame, params: Any = None) -> Any:
        return self.predicted


def checked(predicted: Any) -> Any:
    return CheckedModel(Model(predicted))  # type: ignore[arg-type]


@pytest.mark.parametrize("impossible", [-7251.0, math.inf, math.nan])
def test_an_impossible_prediction_is_refused_with_the_row(rows: pd.DataFrame, impossible: float) -> None:
    with pytest.raises(MlflowException, match="row 2") as caught:
        checked(pd.DataFrame({"prediction": [36.0, impossible, 36.0]})).predict(rows)

    assert caught.value.get_http_status_code() == 400


def test_a_level_that_the_model_has_not_seen_is_a_warning(rows: pd.DataFrame) -> None:
    name = CATEGORIES[0].name
    predicted = pd.DataFrame({"prediction": [36.0] * 3, "unseen": ["", name, ""]}, rows.index)

    answer = checked(predicted).predict(rows)

    assert list(answer) == ["prediction", "warnings"]
    assert answer["warnings"].astype(bool).tolist() == [False, True, False]
    assert f"no training row has {name} {rows[name].iloc[1]}" in answer["warnings"][1]


def test_a_model_that_predicts_numbers_alone_answers_in_the_same_form(rows: pd.DataFrame) -> None:
    answer = checked(np.array([36.0, 37.0, 38.0])).predict(rows)

    assert answer["prediction"].tolist() == [36.0, 37.0, 38.0]
    assert answer["warnings"].tolist() == [""] * 3


def test_a_request_that_is_too_large_is_refused_before_it_is_read(champion: str, records: Records) -> None:
    body = json.dumps({"dataframe_records": records}).encode().ljust(LIMIT + 1)
    headers = {"Content-Type": "application/json"}

    stated = httpx.post(f"{champion}/invocations", content=body, headers=headers)
    in_parts = httpx.post(f"{champion}/invocations", content=iter([body[:1000], body[1000:]]), headers=headers)
    largest = httpx.post(f"{champion}/invocations", content=body[:-1], headers=headers)

    assert [stated.status_code, in_parts.status_code, largest.status_code] == [413, 413, 200]
    assert stated.text == "a request may have 0.1 MB (MAX_REQUEST_MB): send fewer rows at once\n"


def test_a_length_is_refused_without_waiting_for_the_body(champion: str) -> None:
    with connect(champion) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000000\r\n\r\n")

        assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.fixture
def trained(registered: Registered, training: pd.DataFrame) -> tuple[str, str]:
    """Two more versions, of a model that train makes."""
    experiment_id = registered.hook.create_experiment("trained", exist_ok=True)
    with tracking.connected(), tracking.mlflow.start_run(experiment_id=experiment_id) as run:
        logged = tracking.log_model(fit("RidgeCV", training), training[PROBLEM.inputs])
    for _ in range(2):
        registered.hook.create_model_version(registered.name, f"models:/{logged.model_id}", run.info.run_id)
    return "3", "4"


@pytest.mark.parametrize("seconds", [15, pytest.param(60, marks=pytest.mark.extended)])
def test_no_answer_is_lost_while_versions_are_swapped_every_second(
    registered: Registered, trained: tuple[str, str], url: str, records: Records, seconds: int
) -> None:
    registered.promote(trained[0])
    wait_until(lambda: served_version(url) == trained[0])
    stopped, body = threading.Event(), {"dataframe_records": records}

    def hammer() -> list[tuple[int, str, int]]:
        answers = []
        with httpx.Client(timeout=30) as client:
            while not stopped.is_set():
                answer = client.post(f"{url}/invocations", json=body)
                found = len(answer.json()["predictions"])
                answers.append((answer.status_code, answer.headers["X-Model-Version"], found))
        return answers

    with ThreadPoolExecutor(2) as clients:
        hammering = [clients.submit(hammer) for _ in range(2)]
        for second in range(seconds):
            registered.promote(trained[second % 2])
            time.sleep(1)  # the pace of the swaps
        stopped.set()
        answered = [client.result() for client in hammering]
    swaps = [sum(one[1] != next_[1] for one, next_ in pairwise(answers)) for answers in answered]
    assert {answer for answers in answered for answer in answers} == {(200, version, 3) for version in trained}
    assert min(swaps) >= seconds / 5  # a swap takes as long as MLflow takes to hand out the model
    assert sum(map(len, answered)) > 10 * seconds


def test_a_version_that_cannot_be_loaded_replaces_nothing(
    registered: Registered, champion: str, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def broken(version: str) -> None:
        tried.set()
        raise OSError(f"version {version} is broken")

    with monkeypatch.context() as patch:
        patch.setattr(model_server, "load_model", broken)
        registered.promote("2")
        assert tried.wait(30)
        assert ask(champion, records).headers["X-Model-Version"] == "1"
    wait_until(lambda: served_version(champion) == "2")


def test_a_champion_with_other_inputs_does_not_answer_and_the_response_has_the_reason(
    registered: Registered, url: str, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champions, "PROBLEM", replace(PROBLEM, features=PROBLEM.features[:-1]))
    registered.promote("1")

    wait_until(lambda: "version 1 takes other inputs" in ask(url, records).text)

    answer = ask(url, records)
    assert answer.status_code == 503
    assert f"has: {PROBLEM.inputs[-1]} (" in answer.text


def test_the_smoke_test_waits_for_the_version_and_describes_the_result(
    registered: Registered, champion: str, rows: pd.DataFrame
) -> None:
    registered.promote("2")

    assert smoke_test(champion, rows, version="2").startswith(f"version 2 at {champion} predicted 3 rows in ")


def test_the_smoke_test_fails_if_another_version_answers(champion: str, rows: pd.DataFrame) -> None:
    with pytest.raises(ServingError, match="serves version 1 after 0 s, not 7"):
        smoke_test(champion, rows, version="7", timeout=0.1)


def test_the_smoke_test_fails_if_rows_are_refused(champion: str, rows: pd.DataFrame) -> None:
    name = PROBLEM.inputs[-1]

    with pytest.raises(ServingError, match=rf"(?s)responds with 400, version 1: .*{re.escape(name)}"):
        smoke_test(champion, rows.drop(columns=name))


def respond(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    response = httpx.Response(200, headers={"X-Model-Version": "1"}, text=text)
    monkeypatch.setattr(model_client, "_send", lambda *_, **__: response)


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        float("nan"),
        "36.0",
        {"prediction": None},
        {"prediction": float("inf")},
        {"prediction": 36.0, "lower": 38.0, "upper": 34.0},
        {"prediction": 39.0, "lower": 34.0, "upper": 38.0},
    ],
)
def test_the_smoke_test_fails_if_a_prediction_is_not_a_number_in_its_interval(
    rows: pd.DataFrame, prediction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"predictions": [ANSWER, ANSWER, prediction]})
    respond(monkeypatch, body)

    with pytest.raises(ServingError, match="predicts for 3 rows"):
        smoke_test("http://127.0.0.1", rows)


@pytest.mark.parametrize("prediction", [-36.0, {"prediction": -36.0}, ANSWER])
def test_the_smoke_test_accepts_any_finite_number(
    rows: pd.DataFrame, prediction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"predictions": [prediction] * 3})
    respond(monkeypatch, body)

    assert smoke_test("http://127.0.0.1", rows).startswith("version 1 at http://127.0.0.1 predicted 3 rows in ")


def test_a_server_that_is_not_running_is_an_error_with_the_remedy(rows: pd.DataFrame) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert not is_up(url)
    with pytest.raises(ServingError, match=r"Is the model server running\? make serve"):
        smoke_test(url, rows)
