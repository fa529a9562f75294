"""What a person reads when a real server refuses, hangs or dies: each names the connection, the URL and what to do."""

import json
import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import mlflow
import psutil
import pytest

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook

from .proxy import Authority
from .servers import mlflow_3

WRONG = "s3cret-word"
BIG = 64 << 20  # bytes, more than all buffers on the way take
READER = {"username": "reader", "password": "only-for-reading"}
NO_BUNDLE = "Check schema and port of connection 'real', and the file that `ca_bundle` in its extra names"
NO_MLFLOW = "Check host, port and path prefix of the connection"
NO_TRUST = "Set `ca_bundle` in the extra of connection 'real' to the path of a file with the authority"


@pytest.fixture
def using(connect):
    """Make a hook whose connection ``real`` has these fields."""

    def make(fields, **changes):
        connect("real", **fields | changes)
        return MLflowClientHook(mlflow_conn_id="real")

    return make


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory):
    return str(Authority(tmp_path_factory.mktemp("other")).bundle)


@pytest.fixture
def netrc(monkeypatch, tmp_path):
    """Write a file with another login for this machine, where ``requests`` looks for one."""

    def write(login, password):
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {login} password {password}")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    return write


def search(hook):
    return hook.call("GET", "api/2.0/mlflow/experiments/search", {"max_results": 1})


def create(hook):
    return hook.call("POST", "api/2.0/mlflow/experiments/create", {"name": "possums"})


def search_with_library(hook):
    with hook.environment():
        return mlflow.MlflowClient().search_experiments(max_results=1)


def refusal_of(hook, call=search):
    """Return what a person reads, after a look at what holds for all of it."""
    with pytest.raises(MLflowError) as caught:
        call(hook)
    message = str(caught.value)
    assert "connection 'real'" in message
    assert hook.base_url in message
    assert (hook.server.password or WRONG) not in "".join(traceback.format_exception(caught.value))
    return message


@pytest.mark.parametrize("call", [search, create])
def test_an_unknown_authority_is_reported_with_the_way_to_name_it(using, behind_tls, other_bundle, call):
    for extra in ({}, {"ca_bundle": other_bundle}):
        message = refusal_of(using(behind_tls, extra=extra), call)
        assert "certificate verify failed" in message
        assert NO_TRUST in message


def test_a_refused_certificate_is_not_tried_again(using, behind_tls, caplog):
    refusal_of(using(behind_tls, extra={}))
    assert "Retrying" not in caplog.text


def test_a_certificate_for_another_host_is_reported(using, behind_tls):
    message = refusal_of(using(behind_tls, host=behind_tls["host"].replace("127.0.0.1", "localhost")))
    assert "not valid for 'localhost'" in message
    assert "its host to a name in the certificate" in message


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_the_check_of_certificates_can_be_switched_off(using, behind_tls):
    hook = using(behind_tls, extra={"verify": False})
    assert hook.test_connection()[0]
    assert search_with_library(hook)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_invalid_bundle_is_reported(using, behind_tls, tmp_path, content):
    file = tmp_path / "bundle.pem"
    if content:
        file.write_text(content)
    message = refusal_of(using(behind_tls, extra={"ca_bundle": str(file)}))
    assert NO_BUNDLE in message
    assert content or str(file) in message


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("extra", [None, {"verify": False}])
def test_a_bundle_of_the_environment_does_not_win(using, behind_tls, other_bundle, monkeypatch, extra):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, other_bundle)
    hook = using(behind_tls, extra=extra or behind_tls["extra"])
    assert hook.test_connection()[0]
    assert search_with_library(hook)


@pytest.mark.parametrize("call", [search, create])
def test_tls_to_a_port_without_it_is_reported(using, without_login, call):
    message = refusal_of(using(without_login, host=without_login["host"].replace("http:", "https:")), call)
    assert NO_BUNDLE in message
    assert "acted" not in message


@pytest.mark.parametrize("kind", ["behind_tls", "own_prefix_and_tls"])
def test_no_tls_to_a_port_that_wants_it_is_reported(using, request, kind):
    fields = request.getfixturevalue(kind)
    message = refusal_of(using(fields, host=fields["host"].replace("https:", "http:")))
    assert "Max retries" not in message
    assert "that host, port and schema of connection 'real' fit" in message


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("behind_prefix", "/team/mlflow", ""),
        ("behind_prefix", "/team/mlflow", "/team"),
        ("own_prefix_and_tls", "/mlflow", ""),
        ("own_prefix_and_tls", "/mlflow", "/mlflow/mlflow"),
    ],
)
@pytest.mark.parametrize("call", [search, create])
def test_a_wrong_path_prefix_is_reported(using, request, kind, right, wrong, call):
    fields = request.getfixturevalue(kind)
    message = refusal_of(using(fields, host=fields["host"].removesuffix(right) + wrong), call)
    assert "404 Not Found" in message
    assert NO_MLFLOW in message


@pytest.mark.parametrize("login", [{"password": WRONG}, {"login": None, "password": None}])
def test_a_wrong_login_is_reported(using, with_login, login):
    hook = using(with_login, **login)
    message = refusal_of(hook)
    assert hook.test_connection() == (False, message)
    assert "401 Unauthorized" in message
    assert message.endswith("Check login and password of connection 'real'.")


def test_a_token_for_a_server_that_wants_a_password_is_reported(using, with_login):
    message = refusal_of(using(with_login, login="token", password=WRONG))
    assert "500 Internal Server Error" in message  # how MLflow 3.17 itself takes it
    assert message.endswith("The server's log, or that of a proxy before it, tells why.")


def test_another_login_in_netrc_does_not_win(using, with_login, netrc):
    netrc("somebody", "else")
    hook = using(with_login)
    assert hook.test_connection()[0]
    assert search_with_library(hook)


def test_a_login_in_netrc_is_not_used_without_one_in_the_connection(using, with_login, netrc):
    netrc(with_login["login"], with_login["password"])
    hook = using(with_login, login=None, password=None)
    assert "401" in refusal_of(hook)
    with pytest.raises(mlflow.MlflowException, match="401"):
        search_with_library(hook)


def test_a_missing_permission_is_reported(using, with_login):
    owner = using(with_login)
    experiment_id = owner.create_experiment("not for readers", exist_ok=True)
    owner.run("api/2.0/mlflow/users/create", request_params=READER)
    reader = using(with_login, login=READER["username"], password=READER["password"])
    assert reader.get_experiment_by_name("not for readers")
    message = refusal_of(reader, lambda hook: hook.create_run(experiment_id))
    assert "403 Forbidden: Permission denied" in message
    assert "The user of connection 'real' lacks this permission" in message


def test_a_password_may_have_any_character(using, with_login):
    user = {"username": "élodie", "password": "pässwörd … of many kinds"}
    using(with_login).run("api/2.0/mlflow/users/create", request_params=user)
    hook = using(with_login, login=user["username"], password=user["password"])
    assert hook.test_connection()[0]
    assert search_with_library(hook)


def test_a_host_that_the_server_does_not_allow_is_reported(using, without_login):
    message = refusal_of(using(without_login, extra={"headers": {"Host": "mlflow:5000"}}))
    assert "403 Forbidden: Invalid Host header" in message
    assert "Name this host in the server's --allowed-hosts" in message


def test_what_mlflow_2_lacks_is_reported(using, version_2):
    message = refusal_of(using(version_2), lambda hook: hook.get_logged_model("m-1f0c"))
    assert "404 NOT FOUND" in message
    assert message.endswith("an old MLflow may not know this endpoint either.")


@pytest.fixture(scope="module")
def killed(start, tmp_path_factory):
    """A server that was killed: its processes, and the errors of a download, a search and a creation under way."""
    server = start(mlflow_3())
    folder = tmp_path_factory.mktemp("download")
    os.mkfifo(folder / "pipe")  # a download into it goes on as far as it is read
    (folder / "big").write_bytes(bytes(BIG))
    connection = {"conn_type": "http", "host": server.url, "login": "me", "password": WRONG}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setenv("AIRFLOW_CONN_REAL", json.dumps(connection))
        hook = MLflowClientHook(mlflow_conn_id="real")
        with hook.environment(), mlflow.start_run() as run:
            mlflow.log_artifact(str(folder / "big"))
        path = f"{run.info.artifact_uri.removeprefix('mlflow-artifacts:/')}/big"
        calls = [pool.submit(refusal_of, hook, lambda hook: hook.download_artifact(path, folder / "pipe"))]
        with (folder / "pipe").open("rb") as arriving:
            assert arriving.read(1)
            server.pause()
            calls += [pool.submit(refusal_of, hook, call) for call in (search, create)]
            server.wait_for_calls(3)
            processes = server.processes()
            server.kill()
            assert len(arriving.read()) < BIG - 1
        download, reading, change = (call.result() for call in calls)
    return SimpleNamespace(processes=processes, download=download, reading=reading, change=change)


def test_calls_to_a_server_that_is_killed_end_with_the_reason(killed):
    assert "/artifacts/big (connection 'real'): " in killed.download
    assert "Check that the server runs" in killed.download
    assert "Connection refused. Check that the server runs" in killed.reading
    assert "Check that the server runs" in killed.change
    assert killed.change.endswith("MLflow may have acted on it all the same.")
    assert not psutil.wait_procs(killed.processes, timeout=30)[1]
