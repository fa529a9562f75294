"""Answers and connections of any shape: the error is one of this package and names the connection."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Connection

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks import rest
from include.mlflow_provider.hooks.base import MLflowBaseHook
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook

from ..scripted import Answer

VERSION = {"name": "a", "version": "1", "source": "s3://a", "run_id": "r", "tags": [{"key": "k", "value": "v"}]}
RUN = {
    "info": {"run_id": "r", "experiment_id": "1", "artifact_uri": "s3://a/b"},
    "data": {"metrics": [{"key": "m", "value": 1.5, "timestamp": 1, "step": 0}]},
}
MODEL = {"info": {"model_id": "m-1", "experiment_id": "1", "artifact_uri": "s3://a/b"}, "data": RUN["data"]}
EXPERIMENT = {"experiment_id": "1", "name": "a", "lifecycle_stage": "active"}
# For each method an answer that it understands; the fuzz changes it.
CALLS: list[tuple[Callable[..., Any], Any]] = [
    (lambda hook: list(hook.search_experiments()), {"experiments": [EXPERIMENT], "next_page_token": ""}),
    (lambda hook: hook.get_experiment_by_name("a"), {"experiment": EXPERIMENT}),
    (lambda hook: hook.create_experiment("a"), {"experiment_id": "1"}),
    (lambda hook: hook.create_experiment("a", exist_ok=True), {"experiment": EXPERIMENT}),
    (lambda hook: hook.get_logged_model("m-1"), {"model": MODEL}),
    (lambda hook: list(hook.search_logged_models(["1"])), {"models": [MODEL], "next_page_token": ""}),
    (lambda hook: hook.create_run("1"), {"run": RUN}),
    (lambda hook: hook.set_terminated("r", "FAILED"), {"run_info": RUN["info"]}),
    (lambda hook: list(hook.get_metric_history("r", "m")), {"metrics": RUN["data"]["metrics"]}),
    (lambda hook: hook.create_registered_model("a", exist_ok=True), {"registered_model": {"name": "a"}}),
    (lambda hook: hook.get_latest_versions("a"), {"model_versions": [VERSION]}),
    (lambda hook: hook.find_model_version("models:/a/latest"), {"model_versions": [VERSION]}),
    (lambda hook: hook.find_model_version("models:/a@b"), {"model_version": VERSION}),
    (lambda hook: hook.create_model_version("a", "s3://a", exist_ok=True), {"model_versions": [VERSION]}),
    (
        lambda hook: hook.copy_model_version("models:/a/1", "b"),
        {"model_version": VERSION, "registered_model": {"name": "b"}},
    ),
    (lambda hook: hook.get_model_version_download_uri("a", 1), {"artifact_uri": "s3://a"}),
    (lambda hook: hook.get_model_version_metric(VERSION, "m"), {"run": RUN}),
    (lambda hook: hook.get_model_version_metric({"model_id": "m-1"}, "m"), {"model": MODEL, "metrics": []}),
    (lambda hook: list(hook.list_artifact_files("a")), {"files": [{"path": "b", "is_dir": False}]}),
    (lambda hook: hook.delete_registered_model("a", missing_ok=True), {}),
    (lambda hook: pyfunc(hook).get_model_page("runs:/r/model"), {"run": RUN}),
    (lambda hook: pyfunc(hook).get_model_artifact_uri("models:/m-1"), {"model": MODEL}),
    (lambda hook: pyfunc(hook).get_model_artifact_uri("runs:/r/model"), {"run": RUN, "models": [MODEL]}),
    (lambda hook: pyfunc(hook).get_recorded_hash("models:/a/1"), {"model_version": VERSION}),
]
ODD = [None, True, 0, -1.5, 1e400, "", "text", "../../etc", "\ud800", [], [None], [[]], {}, {"a": None}, 10**30]
BODIES = ["", "null", "[]", '"text"', "5", "{", "[" * 5000, '{"a":' * 5000, "9" * 5000, "\x00", '{"error_code": {}}']
STATUSES = [200, 200, 200, 200, 201, 204, 302, 400, 403, 404, 429, 500, 599]
CODES = ["RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INTERNAL_ERROR", 5, None, {}]
TYPES = ["application/json", "text/html; charset=nonsense", "application/json; charset=utf-16", ""]


def pyfunc(hook: MLflowClientHook) -> MLflowPyfuncHook:
    return MLflowPyfuncHook(hook.mlflow_conn_id)


def error_of(call: Callable[[], Any]) -> str:
    """Return the message of an error of this package, or nothing if there was none; any other error is a failure."""
    try:
        call()
    except MLflowError as error:
        return str(error)
    return ""


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    monkeypatch.setattr(rest, "BACKOFF", 0.0)
    monkeypatch.setattr(rest, "RETRIES", 1)
    monkeypatch.setattr(rest, "RETRY_AFTER_MAX", 0.01)


def mutate(chance: random.Random, value: Any) -> Any:
    """Change one place of an answer: another value, or nothing there."""
    inner = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    if not inner or chance.random() < 0.2:
        return chance.choice(ODD)
    place, found = chance.choice(inner)
    changed = value.copy()
    if chance.random() < 0.2:
        del changed[place]
    else:
        changed[place] = mutate(chance, found)
    return changed


def odd_answer(chance: random.Random, understood: Any) -> Answer:
    status = chance.choice(STATUSES)
    body = json.dumps(mutate(chance, understood)) if chance.random() < 0.8 else chance.choice(BODIES)
    if status >= 400 and chance.random() < 0.7:
        body = json.dumps({"error_code": chance.choice(CODES), "message": chance.choice(ODD)})
    headers = {"Content-Type": chance.choice(TYPES)}
    if status == 302:
        headers["Location"] = chance.choice(["/elsewhere", "http://[", "http://me:s3cret-word@x/", "\\"])
    if chance.random() < 0.1:
        headers["Retry-After"] = chance.choice(["0", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"])
    if chance.random() < 0.05:
        headers["Content-Encoding"] = "gzip"
    return Answer(status, body, headers)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_whatever_mlflow_answers_the_error_is_ours_and_names_the_connection(scripted, number):
    call, understood = CALLS[number]
    chance = random.Random(number)
    server = scripted(Answer(200, json.dumps(understood)))
    call(MLflowClientHook(mlflow_conn_id="scripted"))
    errors = 0
    for _ in range(80):
        server.answers[:] = [odd_answer(chance, understood), Answer(200, json.dumps(understood))]
        if chance.random() < 0.5:
            server.answers.insert(1, odd_answer(chance, understood))
        error = error_of(lambda: call(MLflowClientHook(mlflow_conn_id="scripted")))
        errors += bool(error)
        assert not error or "'scripted'" in error
        assert "s3cret-word" not in error
    assert errors


TEXTS = ["", " ", "mlflow", "http://mlflow", "https://[::1]:5000/a", "http://", "http:///a", "http://a:b", "a b", "%"]
TEXTS += ["%zz", "http://%41", "\\\\x", "mlflow\n", "m\x00", "é" * 300, "." * 70, "a" * 70, "http://a" * 9, "["]
TEXTS += ["http://a?b#c", "]:1", "databricks", "ftp://x", "http://me:s3cret-word@x", "s3cret-word@", "//x//", "null"]
TEXTS += ["http://x/../.."]
NUMBERS = [None, True, False, 0, -1, 1.5, 1e308, 10**400]
VALUES = [text for text in TEXTS if "s3cret" not in text] + NUMBERS + [[], {}, ["x"], {"A b": "c"}, {"X": "é\n"}]
FIELDS = ["registry_uri", "ui_uri", "verify", "ca_bundle", "timeout", "headers", "verfy", "X-Team"]


def odd_extra(chance: random.Random) -> str:
    extra: Any = {name: chance.choice(VALUES) for name in chance.sample(FIELDS, chance.randrange(4))}
    if chance.random() < 0.2:
        extra = chance.choice(VALUES)
    text = json.dumps(extra)
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        text = json.dumps(text)
    return chance.choice([text, text, text, text, text[:-1], ""])


def test_whatever_a_connection_holds_the_error_is_ours_and_names_it():
    chance, usable = random.Random(17), 0
    for _ in range(3000):
        conn = Connection(
            conn_id="odd",
            conn_type=chance.choice(["mlflow", "http", "https"]),
            host=chance.choice(TEXTS),
            schema=chance.choice([None, "", "http", "https", "ftp"]),
            port=chance.choice([None, 0, 1, 5000, 70000, -3]),
            login=chance.choice([None, "", "token", "me", "é", "a:b\n"]),
            password=chance.choice([None, "", "s3cret-word", "s3cret\nword", "é"]),
            extra=odd_extra(chance),
        )
        hook = MLflowClientHook(mlflow_conn_id="odd")
        hook.connection = conn
        error = error_of(lambda hook=hook: (hook.get_conn(), hook.server.url("api"), hook.get_env_vars()))
        usable += not error
        assert not error or "'odd'" in error
        assert "s3cret" not in error
    assert usable > 100


@pytest.mark.parametrize("extra", [{}, {"timeout": 0.2, "headers": {"X": "1"}}])
def test_whatever_host_and_port_are_a_request_ends_in_an_error_of_ours(extra, monkeypatch):
    monkeypatch.setattr(rest, "CONNECT_TIMEOUT", 0.2)
    chance = random.Random(3)
    for host in TEXTS:
        hook = MLflowClientHook(mlflow_conn_id="odd")
        port = chance.choice([1, 70000, -3])
        hook.connection = Connection(conn_id="odd", conn_type="http", host=host, port=port, extra=json.dumps(extra))
        with pytest.raises(MLflowError, match="'odd'"):
            hook.call("POST", "api/2.0/mlflow/runs/create", {})


def test_an_extra_that_is_the_text_of_a_text_is_read():
    text = json.dumps(json.dumps(json.dumps({"timeout": 3})))
    hook = MLflowBaseHook("odd")
    hook.connection = Connection(conn_id="odd", conn_type="mlflow", host="mlflow", extra=text)
    assert hook.server.timeout == 3


@pytest.mark.parametrize(
    ("extra", "hint"),
    [
        ({"verfy": False}, r"'verfy' \(is that 'verify'\?\)"),
        ({"X-Team": "a"}, "'X-Team'.*belong in the field 'headers'"),
    ],
)
def test_extra_fields_that_mean_nothing_are_warned_of(extra, hint, caplog):
    hook = MLflowBaseHook("odd")
    hook.connection = Connection(conn_id="odd", conn_type="mlflow", host="mlflow", extra=json.dumps(extra))
    assert hook.server.verify is True
    assert re.search(hint, caplog.text)
