"""The workflow file: read as OpenMetadata's own command reads it, and refused where today's client would fail later.

Runs in Airflow's environment, when the DAG is parsed, and in the connector's: standard library and PyYAML only.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

VARIABLE = re.compile(r"\$\{(\w+)\}")
SQL = re.compile(r"(mysql|postgres(ql)?|mssql|sqlite|oracle)(\+\w+)?:", re.IGNORECASE)
TOKEN_FILE = "${OPENMETADATA_TOKEN_FILE}"  # noqa: S105 # a variable's name
LOGIN = f"authProvider: openmetadata and securityConfig: {{jwtToken: {TOKEN_FILE}}}"


class CatalogueError(RuntimeError):
    """The catalogue cannot be filled; the message is one sentence that says what to do."""


def read_workflow(file: Path, *, expand: bool = False) -> dict[str, Any]:
    """Return the content of a workflow file, YAML or JSON.

    :param expand: fill in ``${VARIABLES}`` from the environment, as ``metadata ingest -c`` does
    :raises CatalogueError: the file cannot be read, a variable is not set, or a setting is one that today's client
        refuses; the message says what to write instead
    """
    try:
        text = file.read_text()
        workflow = _parse(os.path.expandvars(text) if expand else text, file.suffix)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CatalogueError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    for problem in _problems(workflow, expand):
        raise CatalogueError(f"{file}: {problem}")
    return workflow


def variables(file: Path) -> set[str]:
    """Return the names of the environment variables that a workflow file asks for."""
    return set(VARIABLE.findall(json.dumps(read_workflow(file))))


def _parse(text: str, suffix: str) -> dict[str, Any]:
    if suffix not in (".yaml", ".yml", ".json"):
        raise ValueError(f"its name must end in .yaml, .yml or .json, not {suffix!r}")
    workflow = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    if not isinstance(workflow, dict):
        raise ValueError("it must be a mapping with source, sink and workflowConfig")
    return workflow


def _problems(workflow: dict[str, Any], expanded: bool) -> Iterator[str]:
    if expanded:
        for name in sorted(set(VARIABLE.findall(json.dumps(workflow)))):
            yield f"the environment variable {name} is not set"
    yield from _source_problems(_at(workflow, "source"))
    if (sink := _at(workflow, "sink").get("type")) != "metadata-rest":
        yield f"sink.type is {sink}: write metadata-rest, which sends to an OpenMetadata server"
    settings = _at(workflow, "workflowConfig")
    if settings.get("successThreshold") != 100:
        yield "workflowConfig.successThreshold must be 100: left out, a run with failures counts as a success"
    yield from _server_problems(_at(settings, "openMetadataServerConfig"))


def _source_problems(source: dict[str, Any]) -> Iterator[str]:
    if source.get("type") != "mlflow":
        yield f"source.type is {source.get('type')}: write mlflow"
    if not source.get("serviceName"):
        yield "source.serviceName is missing: write the name that MLflow has in OpenMetadata"
    connection = _at(source, "serviceConnection", "config")
    for name in ("trackingUri", "registryUri"):
        uri = str(connection.get(name) or "")
        if not uri:
            yield f"{name} is missing: write the address of the MLflow server, such as http://localhost:5000"
        if SQL.match(uri):  # the client would open MLflow's database, for which it has no driver
            yield f"{name} is the address of a database: write that of the MLflow server, as in trackingUri"


def _server_problems(server: dict[str, Any]) -> Iterator[str]:
    if quoted := [name for name in server if str(name).endswith('"')]:
        yield f"the name {quoted[0]} ends in a quotation mark: remove it"
    host = str(server.get("hostPort") or "")
    if not host.endswith("/api") and not VARIABLE.search(host):
        yield f"hostPort is {host or 'missing'}: write the server's address with /api, http://localhost:8585/api"
    if server.get("authProvider") == "no-auth":
        yield f"authProvider no-auth is no more: write {LOGIN}"
    yield from _login_problems(server.get("securityConfig"))


def _login_problems(security: Any) -> Iterator[str]:
    if not isinstance(security, dict) or not security.get("jwtToken"):
        given = f"has {', '.join(security)}" if isinstance(security, dict) and security else "is missing"
        yield f"securityConfig {given}, but the client takes a token, whoever issued it: write {LOGIN}"
        return
    if others := sorted(set(security) - {"jwtToken"}):
        yield f"securityConfig has {', '.join(others)}, which the client takes no more: write {LOGIN}"
    token = str(security["jwtToken"])
    if not VARIABLE.search(token) and not Path(token).is_absolute():
        yield f"the token itself must not stand in the file: write jwtToken: {TOKEN_FILE}, the path of a file with it"


def _at(content: Any, *names: str) -> dict[str, Any]:
    """Return the mapping below these names; an empty one where there is none."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}
