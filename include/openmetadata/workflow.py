"""The workflow file: read as OpenMetadata's own command reads it; settings that the client rejects are refused early.

Runs in Airflow's environment, when the DAG is parsed, and in the connector's: standard library and PyYAML only.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

VARIABLE = re.compile(r"\$\{(\w+)\}")
LOGIN = "write authProvider: openmetadata and securityConfig: {jwtToken: ${OPENMETADATA_TOKEN_FILE}}"
MLFLOW, SERVER = "source.serviceConnection.config", "workflowConfig.openMetadataServerConfig"
NO_DATABASE = r"(?i)(?!(mysql|postgres(ql)?|mssql|sqlite|oracle)(\+\w+)?:).+"  # the client has no driver
# Settings, the pattern of the values that the client supports (of a mapping: its keys), and what is wrong with others.
SETTINGS = [
    ("source.type", "mlflow", "is {}: write mlflow"),
    ("source.serviceName", ".+", "is {}: write the name of MLflow in OpenMetadata"),
    (f"{MLFLOW}.trackingUri", NO_DATABASE, "is missing or a database: write the address of the MLflow server"),
    (f"{MLFLOW}.registryUri", NO_DATABASE, "is missing or a database: write the address of the MLflow server"),
    ("sink.type", "metadata-rest", "is {}: write metadata-rest, which sends to an OpenMetadata server"),
    ("workflowConfig.successThreshold", "100", "must be 100: without it a run with failures counts as a success"),
    (SERVER, '[^"]+', "is missing or has a name that ends in a quotation mark: remove the mark"),
    (f"{SERVER}.hostPort", r".*/api|.*\$\{\w+\}.*", "is {}: write the address with /api, http://localhost:8585/api"),
    (f"{SERVER}.authProvider", "(?!no-auth).*", f"no-auth is no longer supported: {LOGIN}"),
    (f"{SERVER}.securityConfig", "jwtToken", f"must be jwtToken alone, the only login that is supported: {LOGIN}"),
    (f"{SERVER}.securityConfig.jwtToken", r"/.*|.*\$\{\w+\}.*", f"must be the path of a file with the token: {LOGIN}"),
]


class CatalogueError(RuntimeError):
    """The catalogue cannot be updated; the message is one line with the remedy."""


def read_workflow(file: Path, *, expand: bool = False) -> dict[str, Any]:
    """Return the content of a workflow file, YAML or JSON.

    :param expand: replace ``${VARIABLES}`` with the environment's, as ``metadata ingest -c`` does
    :raises CatalogueError: the file cannot be read, a variable is not set, or the client rejects a setting
    """
    try:
        text = file.read_text()
        workflow = yaml.safe_load(os.path.expandvars(text) if expand else text)  # reads JSON too
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CatalogueError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if expand and (missing := VARIABLE.search(json.dumps(workflow))):
        raise CatalogueError(f"{file}: the environment variable {missing[1]} is not set")
    for path, pattern, problem in SETTINGS:
        value = _value(workflow, path)
        if not re.fullmatch(pattern, value):
            raise CatalogueError(f"{file}: {path} {problem.replace('{}', value or 'missing')}")
    return workflow


def variables(file: Path) -> set[str]:
    """Return the names of the environment variables in a workflow file."""
    return set(VARIABLE.findall(json.dumps(read_workflow(file))))


def _value(content: Any, path: str) -> str:
    """Return the setting at a path, the keys of a mapping, or an empty text."""
    for name in path.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return ", ".join(map(str, content)) if isinstance(content, dict) else str(content or "")
