"""A workspace of Databricks: its own name, TLS and token, on a server of this machine."""

import socket

import pytest

from include.mlflow_provider.exceptions import MLflowConnectionError
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer, ScriptedServer
from .proxy import Authority

WORKSPACE = "adb-1.2.azuredatabricks.net"
TOKEN = "dapi-s3cret-word"


@pytest.fixture
def workspace(tmp_path, monkeypatch, connect):
    """The server, behind the connection ``workspace``; its name leads to this machine."""
    authority = Authority(tmp_path)
    server = ScriptedServer([Answer(body='{"experiments": [{"name": "a"}]}')], authority.certify(WORKSPACE))
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **how: look_up("127.0.0.1" if host == WORKSPACE else host, *rest, **how),
    )
    fields = {"port": server.port, "login": "token", "password": TOKEN, "extra": {"ca_bundle": str(authority.bundle)}}
    connect("workspace", host=f" {WORKSPACE}/ ", **fields)
    yield server
    server.stop()


def test_the_token_is_sent_over_tls(workspace):
    hook = MLflowClientHook(mlflow_conn_id="workspace")
    assert list(hook.search_experiments()) == [{"name": "a"}]
    (request,) = workspace.requests
    assert request[2]["Host"] == f"{WORKSPACE}:{workspace.port}"
    assert request[2]["Authorization"] == f"Bearer {TOKEN}"


def test_nothing_is_sent_to_a_server_that_only_says_it_is_the_workspace(workspace, monkeypatch, connect):
    connect("workspace", host=WORKSPACE, port=workspace.port, login="token", password=TOKEN)
    with pytest.raises(MLflowConnectionError, match="certificate verify failed") as caught:
        list(MLflowClientHook(mlflow_conn_id="workspace").search_experiments())
    assert workspace.requests == []
    assert TOKEN not in str(caught.value)
