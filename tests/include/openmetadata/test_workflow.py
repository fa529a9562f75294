from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from include import settings
from include.openmetadata.workflow import CatalogueError, read_workflow, variables

# The sample of OpenMetadata's documentation, outdated.
DOCUMENTED = """\
source:
  type: mlflow
  serviceName: local_mlflow
  serviceConnection:
    config:
      type: Mlflow
      trackingUri: http://localhost:5000
      registryUri: mysql+pymysql://mlflow:password@localhost:3307/experiments
  sourceConfig:
    config:
      type: MlModelMetadata
sink:
  type: metadata-rest
  config: {}
workflowConfig:
  openMetadataServerConfig:
    hostPort: http://localhost:8585/api
    authProvider: no-auth
"""


def changed(tmp_path: Path, path: str, value: Any) -> Path:
    """Write the project's workflow file with one setting changed, or taken out if the value is None."""
    content = yaml.safe_load(settings.OPENMETADATA_WORKFLOW.read_text())
    *names, last = path.split("/")
    place = content
    for name in names:
        place = place[name]
    place[last] = value
    if value is None:
        del place[last]
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(content))
    return file


def test_the_projects_file_is_accepted_with_its_variables() -> None:
    names = {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "OPENMETADATA_HOST_PORT", "OPENMETADATA_TOKEN_FILE"}
    assert variables(settings.OPENMETADATA_WORKFLOW) == names


def test_variables_are_replaced_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables(settings.OPENMETADATA_WORKFLOW):
        monkeypatch.setenv(name, f"/{name.lower()}/api")

    content = read_workflow(settings.OPENMETADATA_WORKFLOW, expand=True)

    assert content["source"]["serviceConnection"]["config"]["trackingUri"] == "/mlflow_tracking_uri/api"


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)

    with pytest.raises(CatalogueError, match="environment variable MLFLOW_REGISTRY_URI is not set"):
        read_workflow(settings.OPENMETADATA_WORKFLOW, expand=True)


def test_json_is_read_like_yaml(tmp_path: Path) -> None:
    file = changed(tmp_path, "source/serviceName", "mlflow")

    assert read_workflow(file) == read_workflow(settings.OPENMETADATA_WORKFLOW)


def test_the_documented_sample_is_corrected_step_by_step(tmp_path: Path) -> None:
    file = tmp_path / "sample.yaml"
    text = DOCUMENTED
    steps = [
        ("registryUri is the address of a database", "mysql+pymysql://mlflow:password@localhost:3307/experiments",
         "http://localhost:5000"),
        ("successThreshold must be 100", "workflowConfig:\n", "workflowConfig:\n  successThreshold: 100\n"),
        ("authProvider no-auth is no longer supported: write authProvider: openmetadata", "authProvider: no-auth",
         "authProvider: openmetadata"),
        ("securityConfig has no jwtToken", "authProvider: openmetadata",
         "authProvider: openmetadata\n    securityConfig: {jwtToken: '${OPENMETADATA_TOKEN_FILE}'}"),
    ]  # fmt: skip
    for sentence, old, new in steps:
        file.write_text(text)
        with pytest.raises(CatalogueError, match=sentence):
            read_workflow(file)
        text = text.replace(old, new)

    file.write_text(text)
    assert read_workflow(file)["source"]["serviceName"] == "local_mlflow"


SERVER = "workflowConfig/openMetadataServerConfig"
AUTH0 = {"clientId": "id", "secretKey": "key", "domain": "example.com"}


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("source/type", "mysql", "source.type is mysql: write mlflow"),
        ("source/serviceName", None, "source.serviceName is missing"),
        ("source/serviceConnection/config/registryUri", None, "registryUri is missing"),
        ("source/serviceConnection/config/trackingUri", "sqlite:///mlflow.db", "trackingUri is the address of a data"),
        ("sink/type", "file", "sink.type is file: write metadata-rest"),
        (f"{SERVER}/hostPort", "http://localhost:8585", "with /api"),
        (f'{SERVER}/hostPort"', "http://localhost:8585/api", 'the name hostPort" ends in a quotation mark'),
        (f"{SERVER}/securityConfig", AUTH0, "securityConfig has no jwtToken, the only login"),
        (f"{SERVER}/securityConfig/secretKey", "key", "has secretKey, which the client no longer supports"),
        (f"{SERVER}/securityConfig/jwtToken", "eyJhbGciOiJSUzI1NiJ9.e30.x", "the token must not be in the file"),
    ],
)
def test_settings_that_the_client_rejects_are_refused_with_the_remedy(
    tmp_path: Path, path: str, value: Any, sentence: str
) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_workflow(changed(tmp_path, path, value))

    assert sentence in str(caught.value)
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize("provider", ["openmetadata", "auth0", "azure", "google", "okta", "custom-oidc", "saml"])
def test_a_token_of_any_provider_is_accepted(tmp_path: Path, provider: str) -> None:
    read_workflow(changed(tmp_path, f"{SERVER}/authProvider", provider))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("workflow.toml", "", "must end in .yaml"),
        ("workflow.yaml", "- 1", "must be a mapping"),
        ("workflow.yaml", "a: [", "cannot be read"),
        ("workflow.json", "{", "cannot be read"),
        ("missing.yaml", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str | None, sentence: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)

    with pytest.raises(CatalogueError, match=sentence) as caught:
        read_workflow(file)

    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
