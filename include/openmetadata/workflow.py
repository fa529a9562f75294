"""The workflow file: read as OpenMetadata's own command reads it; settings that the client rejects are refused early.

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
    """The catalogue cannot be updated; the message is one line with the remedy."""


def read_workflow(file: Path, *, expand: bool = False) -> dict[str, Any]:
    """Return the content of a workflow file, YAML or JSON.

    :param expand: replace ``${VARIABLES}`` with the environment's, as ``metadata ingest -c`` does
    :raises CatalogueError: the file cannot be read, a variable is not set, or the client rejects a setting
    """
    try:
        text = file.read_text()
        workflow = _parse(os.path.expandvars(text) if expand else text, file.suffix)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CatalogueError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    missing = sorted(set(VARIABLE.findall(json.dumps(workflow)))) if expand else []
    problems = [f"the environment variable {name} is not set" for name in missing]
    for problem in [*problems, *_check_source(workflow), *_check_target(workflow), *_check_login(workflow)]:
        raise CatalogueError(f"{file}: {problem}")
    return workflow


def variables(file: Path) -> set[str]:
    """Return the names of the environment variables in a workflow file."""
    return set(VARIABLE.findall(json.dumps(read_workflow(file))))


def _parse(text: str, suffix: str) -> dict[str, Any]:
    if suffix not in (".yaml", ".yml", ".json"):
        raise ValueError(f"its name must end in .yaml, .yml or .json, not {suffix!r}")
    workflow = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    if not isinstance(workflow, dict):
        raise ValueError("it must be a mapping with source, sink and workflowConfig")
    return workflow


def _check_source(workflow: dict[str, Any]) -> Iterator[str]:
    source = _at(workflow, "source")
    if source.get("type") != "mlflow":
        yield f"source.type is {source.get('type')}: write mlflow"
    if not source.get("serviceName"):
        yield "source.serviceName is missing: write the name of MLflow in OpenMetadata"
    connection = _at(source, "serviceConnection", "config")
    for name in ("trackingUri", "registryUri"):
        uri = str(connection.get(name) or "")
        if not uri:
            yield f"{name} is missing: write the address of the MLflow server, such as http://localhost:5000"
        if SQL.match(uri):  # the client has no database driver
            yield f"{name} is the address of a database: write the address of the MLflow server"


def _check_target(workflow: dict[str, Any]) -> Iterator[str]:
    if (sink := _at(workflow, "sink").get("type")) != "metadata-rest":
        yield f"sink.type is {sink}: write metadata-rest, which sends to an OpenMetadata server"
    if _at(workflow, "workflowConfig").get("successThreshold") != 100:
        yield "workflowConfig.successThreshold must be 100: without it a run with failures counts as a success"
    server = _at(workflow, "workflowConfig", "openMetadataServerConfig")
    if quoted := [name for name in server if str(name).endswith('"')]:
        yield f"the name {quoted[0]} ends in a quotation mark: remove it"
    host = str(server.get("hostPort") or "")
    if not host.endswith("/api") and not VARIABLE.search(host):
        yield f"hostPort is {host or 'missing'}: write the server's address with /api, http://localhost:8585/api"


def _check_login(workflow: dict[str, Any]) -> Iterator[str]:
    server = _at(workflow, "workflowConfig", "openMetadataServerConfig")
    security = _at(server, "securityConfig")
    if server.get("authProvider") == "no-auth":
        yield f"authProvider no-auth is no longer supported: write {LOGIN}"
    token = str(security.get("jwtToken") or "")
    if not token:
        yield f"securityConfig has no jwtToken, the only login that the client supports: write {LOGIN}"
    if others := sorted(set(security) - {"jwtToken"}):
        yield f"securityConfig has {', '.join(others)}, which the client no longer supports: write {LOGIN}"
    if not VARIABLE.search(token) and not Path(token).is_absolute():
        yield f"the token must not be in the file: write jwtToken: {TOKEN_FILE}, the path of a file with the token"


def _at(content: Any, *names: str) -> dict[str, Any]:
    """Return the mapping at a path of names, or an empty one."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}
