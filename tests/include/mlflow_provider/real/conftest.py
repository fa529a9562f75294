"""MLflow servers as people run them, each started when a test first asks for it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from include.mlflow_provider.hooks.client import MLflowClientHook

from .proxy import Authority, ReverseProxy
from .servers import MLflowProcess, mlflow_2, mlflow_3

SERVERS = ("with_login", "without_login", "behind_prefix", "behind_tls", "own_prefix_and_tls", "version_2")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, connect: Callable[..., None]) -> str:
    """Every server in turn, behind the connection ``real``; returns its name."""
    fields = request.getfixturevalue(request.param)
    connect("real", **fields | {"extra": {"timeout": 60, **fields.get("extra", {})}})
    return request.param


@pytest.fixture
def real(server: str) -> MLflowClientHook:
    return MLflowClientHook(mlflow_conn_id="real")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MLflowProcess]]:
    """Start a server of its own; it ends with the session if nothing else ended it."""
    running: list[MLflowProcess] = []

    def begin(environment: Path, *options: str, **address: str) -> MLflowProcess:
        running.append(MLflowProcess(environment, tmp_path_factory.mktemp("mlflow"), *options, **address))
        return running[-1]

    yield begin
    for server in running:
        server.kill()


@pytest.fixture(scope="session")
def with_login(services: dict[str, str], buckets: None) -> dict[str, Any]:
    """Fields of a connection to the stack's server."""
    return json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"])


@pytest.fixture(scope="session")
def without_login(start: Callable[..., MLflowProcess]) -> dict[str, Any]:
    return {"host": start(mlflow_3()).url}


@pytest.fixture(scope="session")
def version_2(start: Callable[..., MLflowProcess]) -> dict[str, Any]:
    return {"host": start(mlflow_2()).url}


@pytest.fixture(scope="session")
def behind_prefix(without_login: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The server without login below ``/team/mlflow``, of which it does not know."""
    proxy = ReverseProxy(without_login["host"], "/team/mlflow")
    yield {"host": proxy.url}
    proxy.stop()


@pytest.fixture(scope="session")
def behind_tls(with_login: dict[str, Any], authority: Authority) -> Iterator[dict[str, Any]]:
    """The stack's server behind a proxy that ends TLS."""
    proxy = ReverseProxy(with_login["host"], certificate=authority.certify())
    login = {name: with_login[name] for name in ("login", "password")}
    yield {"host": proxy.url, **login, "extra": {"ca_bundle": str(authority.bundle)}}
    proxy.stop()


@pytest.fixture(scope="session")
def own_prefix_and_tls(start: Callable[..., MLflowProcess], authority: Authority) -> dict[str, Any]:
    """A server that speaks TLS itself and, from MLflow 3 on, has its REST API below its ``--static-prefix``."""
    certificate = authority.certify()
    options = ["--static-prefix", "/mlflow", "--uvicorn-opts", f"--ssl-certfile {certificate}"]
    server = start(mlflow_3(), *options, scheme="https", prefix="/mlflow")
    return {"host": server.url, "extra": {"ca_bundle": str(authority.bundle)}}
