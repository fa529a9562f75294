import copy
import json
import socket
import sys
import time

import pytest
from requests.auth import HTTPDigestAuth

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowConnectionError
from include.mlflow_provider.hooks import rest
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer

SEARCH = "api/2.0/mlflow/experiments/search"
CREATE = "api/2.0/mlflow/experiments/create"


def client(**arguments):
    return MLflowClientHook(mlflow_conn_id="scripted", **arguments)


def test_get_sends_parameters_in_the_query(scripted):
    server = scripted(Answer())
    client(method="get").run(SEARCH, request_params={"max_results": 3})
    assert server.requests[0][:2] == ("GET", f"/{SEARCH}?max_results=3")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_other_verbs_send_parameters_as_json(scripted, method):
    server = scripted(Answer())
    client(method=method).run(f"/{CREATE}", request_params={"name": "a"})
    assert server.requests[0][:2] == (method, f"/{CREATE}")
    assert json.loads(server.requests[0][3]) == {"name": "a"}


def test_path_prefix_and_headers_of_the_connection_and_of_the_call_are_sent(scripted):
    server = scripted(Answer(), host="127.0.0.1/team", extra={"headers": {"X-Team": "a"}, "other": "not a header"})
    client().run(CREATE, headers={"X-Call": "b"})
    _, path, headers, _ = server.requests[0]
    assert path == f"/team/{CREATE}"
    assert (headers["X-Team"], headers["X-Call"]) == ("a", "b")
    assert "other" not in headers


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"login": "token", "password": "t0ken"}, "Bearer t0ken"),
        ({"login": None, "password": None, "extra": {"headers": {"Authorization": "Basic t0ken"}}}, "Basic t0ken"),
    ],
)
def test_a_token_is_sent_whatever_netrc_says(scripted, monkeypatch, tmp_path, fields, sent):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = scripted(Answer(), **fields)
    client().run(CREATE)
    assert server.requests[0][2]["Authorization"] == sent


def test_another_auth_type_is_used(scripted):
    scripted(Answer())
    assert isinstance(client(auth_type=HTTPDigestAuth).get_conn().auth, HTTPDigestAuth)


def test_an_error_names_code_message_url_and_connection(hook):
    with pytest.raises(MLflowAPIError) as caught:
        hook.call("GET", "api/2.0/mlflow/registered-models/get", {"name": "nobody"})
    error = caught.value
    assert (error.status_code, error.error_code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "accept_status" not in str(error)
    for part in ("nobody not found", "GET http", "/registered-models/get", "'mlflow_default'"):
        assert part in str(error)


def test_a_status_can_be_accepted_and_the_error_says_how(hook):
    path, missing = "api/2.0/mlflow/registered-models/get", {"name": "nobody"}
    getter = MLflowClientHook("GET")
    with pytest.raises(MLflowAPIError, match=r"call run\(\.\.\., accept_status=\[404\]\)"):
        getter.run(path, request_params=missing)
    assert getter.run(path, request_params=missing, accept_status={404}).status_code == 404


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(500, '{"error_code": "INTERNAL_ERROR", "message": "disk full"}'), "500 INTERNAL_ERROR: disk full"),
        (Answer(409, '{"error_code": "RESOURCE_CONFLICT", "message": "busy"}'), "409 RESOURCE_CONFLICT: busy"),
        (Answer(403, "Invalid Host header"), "Invalid Host header.*--allowed-hosts"),
        (Answer(404, "<html>\nnginx</html>"), "<html> nginx</html>.*path prefix of the connection"),
        (Answer(200, "<html>Sign in</html>", {"Content-Type": "text/html"}), "text/html.*Sign in.*login page"),
        (Answer(200, "[]"), "Not MLflow's JSON"),
    ],
)
def test_an_answer_that_is_no_result_is_explained(scripted, answer, message):
    server = scripted(answer)
    with pytest.raises(MLflowAPIError, match=message):
        client().call("POST", CREATE, {"name": "a"})
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_post_that_the_server_put_off_is_sent_again_after_the_time_it_asked_for(scripted, status):
    server = scripted(Answer(status, headers={"Retry-After": "1"}), Answer(200, '{"experiment_id": "7"}'))
    started = time.monotonic()
    assert client().create_experiment("a") == "7"
    assert 1 <= time.monotonic() - started < 3
    assert len(server.requests) == 2


def test_a_file_is_sent_again_from_its_beginning_and_what_has_none_is_not(scripted, tmp_path):
    server = scripted(Answer(429), Answer(200), Answer(429))
    (tmp_path / "file").write_text("content")
    with (tmp_path / "file").open("rb") as file:
        client().run("api/2.0/mlflow-artifacts/artifacts/a", data=file)
    assert [body for *_, body in server.requests] == [b"content"] * 2
    with pytest.raises(MLflowAPIError, match="429"):
        client().run("api/2.0/mlflow-artifacts/artifacts/a", data=iter([b"content"]))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_after_an_error_of_the_server_what_reads_is_sent_again_and_a_change_is_not(scripted, status):
    server = scripted(Answer(status), Answer(200, '{"experiments": [{"name": "a"}]}'))
    assert list(client().search_experiments()) == [{"name": "a"}]
    assert len(server.requests) == 2
    server = scripted(Answer(status))
    with pytest.raises(MLflowAPIError):
        client().create_experiment("a")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("call", "answer", "found"),
    [
        (lambda hook: list(hook.search_runs(["1"])), '{"runs": [{}]}', [{}]),
        (lambda hook: list(hook.search_logged_models(["1"])), '{"models": [{}]}', [{}]),
        (lambda hook: hook.get_latest_versions("a"), '{"model_versions": [{}]}', [{}]),
    ],
)
def test_a_post_that_only_reads_is_sent_again_like_a_get(scripted, call, answer, found):
    server = scripted(Answer(500), Answer(503), Answer(200, answer))
    assert call(client()) == found
    assert [request[0] for request in server.requests] == ["POST"] * 3


def test_a_server_that_keeps_refusing_is_reported_and_a_long_retry_after_is_cut_short(scripted, monkeypatch):
    monkeypatch.setattr(rest, "RETRY_AFTER_MAX", 0.05)
    server = scripted(Answer(429, "slow down", {"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(MLflowAPIError, match=r"429 .*slow down.*an Airflow pool limits"):
        client().call("POST", CREATE)
    assert time.monotonic() - started < 10
    assert len(server.requests) == 1 + rest.RETRIES


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_redirection_is_reported_and_not_followed(scripted, method, status):
    elsewhere = {"Location": "https://me:s3cret-word@elsewhere/mlflow/?session=s3cret-word"}
    server = scripted(Answer(status, headers=elsewhere), Answer())
    with pytest.raises(MLflowAPIError, match=f"{status}.* now https://elsewhere/mlflow/ .*'scripted'") as caught:
        client().call(method, SEARCH)
    assert "s3cret-word" not in str(caught.value)
    assert len(server.requests) == 1


def test_a_server_that_returns_one_page_for_ever_is_refused(scripted):
    scripted(Answer(200, '{"experiments": [{"experiment_id": "1", "name": "a"}], "next_page_token": "again"}'))
    with pytest.raises(MLflowAPIError, match=r"a page names itself as the next one \(.*search.*scripted"):
        list(client().search_experiments())


def test_a_redirection_may_be_accepted(scripted):
    scripted(Answer(302, headers={"Location": "/elsewhere"}))
    assert client().run(SEARCH, accept_status={302}).headers["Location"] == "/elsewhere"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_never_answers_is_reported_in_time(scripted, method):
    server = scripted(Answer(seconds=60), extra={"timeout": 0.3})
    started = time.monotonic()
    with pytest.raises(
        MLflowConnectionError, match=r"http://127.0.0.1:\d+/.*'scripted'.*timed out.*Check that"
    ) as caught:
        client().call(method, SEARCH if method == "GET" else CREATE)
    assert time.monotonic() - started < 10
    assert str(caught.value).endswith("MLflow may have acted on it all the same.") == (method == "POST")
    assert len(server.requests) == (1 if method == "POST" else 1 + rest.RETRIES)


def test_no_attempt_starts_after_the_budget(scripted, monkeypatch):
    monkeypatch.setattr(rest, "RETRY_BUDGET", 0.2)
    server = scripted(Answer(seconds=60), extra={"timeout": 0.3})
    with pytest.raises(MLflowConnectionError):
        client().call("GET", SEARCH)
    assert len(server.requests) == 1


def test_a_refused_connection_names_connection_and_address(connect):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connect(host="127.0.0.1", port=port, login="me", password="s3cret-word")
    with pytest.raises(MLflowConnectionError, match=f"127.0.0.1:{port}/.*'scripted'.*refused") as caught:
        client().call("POST", CREATE)
    assert "s3cret-word" not in str(caught.value)
    try:
        raise FileNotFoundError("a file of the caller's")
    except FileNotFoundError:
        with pytest.raises(MLflowConnectionError) as handling:
            client().call("POST", CREATE)
    assert str(handling.value) == str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what a full queue cannot take")
def test_packets_that_vanish_end_in_the_same_error(connect, monkeypatch):
    monkeypatch.setattr(rest, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        queue = [socket.socket() for _ in range(3)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        connect(host="127.0.0.1", port=deaf.getsockname()[1])
        with pytest.raises(MLflowConnectionError, match="timed out"):
            client().call("POST", CREATE)
        for waiting in queue:
            waiting.close()


def test_an_error_survives_a_trip_to_another_process():
    error = copy.copy(MLflowAPIError("no", 404, "RESOURCE_DOES_NOT_EXIST"))  # by the protocol of pickle
    assert (str(error), error.status_code, error.error_code) == ("no", 404, "RESOURCE_DOES_NOT_EXIST")
    assert error.serialize()[1:] == (("no",), {"status_code": 404, "error_code": "RESOURCE_DOES_NOT_EXIST"})
