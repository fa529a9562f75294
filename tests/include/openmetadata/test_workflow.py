from pathlib import Path
from typing import Any

import pytest

from include import settings
from include.openmetadata.workflow import CatalogueError, read_workflow, variables

from .conftest import change_workflow

SERVER, MLFLOW = "workflowConfig/openMetadataServerConfig", "source/serviceConnection/config"
AUTH0 = {"clientId": "id", "secretKey": "key", "domain": "example.com"}  # in the sample of OpenMetadata's documentation


def test_variables_are_replaced_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "OPENMETADATA_HOST_PORT", "OPENMETADATA_TOKEN_FILE"}
    assert variables(settings.OPENMETADATA_WORKFLOW) == names
    for name in names:
        monkeypatch.setenv(name, f"/{name.lower()}/api")

    content = read_workflow(settings.OPENMETADATA_WORKFLOW, expand=True)

    assert content["source"]["serviceConnection"]["config"]["trackingUri"] == "/mlflow_tracking_uri/api"
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    with pytest.raises(CatalogueError, match="environment variable MLFLOW_REGISTRY_URI is not set"):
        read_workflow(settings.OPENMETADATA_WORKFLOW, expand=True)


def test_json_is_read_like_yaml(tmp_path: Path) -> None:
    file = change_workflow(tmp_path, "source/serviceName", "mlflow")

    assert read_workflow(file) == read_workflow(settings.OPENMETADATA_WORKFLOW)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("source/type", "mysql", "source.type is mysql: write mlflow"),
        ("source/serviceName", None, "source.serviceName is missing"),
        (f"{MLFLOW}/registryUri", None, "registryUri is missing"),
        (f"{MLFLOW}/registryUri", "mysql+pymysql://mlflow:eyJ@localhost:3307/experiments", "or a database"),
        (f"{MLFLOW}/trackingUri", "sqlite:///mlflow.db", "write the address of the MLflow server"),
        ("sink/type", "file", "sink.type is file: write metadata-rest"),
        ("workflowConfig/successThreshold", None, "successThreshold must be 100"),
        (
            f"{SERVER}/hostPort",
            "http://localhost:8585",
            "hostPort is http://localhost:8585: write the address with /api",
        ),
        (f'{SERVER}/hostPort"', "http://localhost:8585/api", "a name that ends in a quotation mark"),
        (f"{SERVER}/authProvider", "no-auth", "no-auth is no longer supported: write authProvider: openmetadata"),
        (f"{SERVER}/securityConfig", None, "must be jwtToken alone"),
        (f"{SERVER}/securityConfig", AUTH0, "the only login that is supported"),
        (f"{SERVER}/securityConfig/secretKey", "eyJ", "must be jwtToken alone"),
        (
            f"{SERVER}/securityConfig/jwtToken",
            "eyJhbGciOiJSUzI1NiJ9.e30.x",
            "must be the path of a file with the token",
        ),
    ],
)
def test_settings_that_the_client_rejects_are_refused_with_the_remedy(
    tmp_path: Path, path: str, value: Any, sentence: str
) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_workflow(change_workflow(tmp_path, path, value))

    assert sentence in str(caught.value)
    assert "eyJ" not in str(caught.value), "a secret"


@pytest.mark.parametrize("provider", ["openmetadata", "auth0", "azure", "google", "okta", "custom-oidc", "saml"])
def test_a_token_of_any_provider_is_accepted(tmp_path: Path, provider: str) -> None:
    read_workflow(change_workflow(tmp_path, f"{SERVER}/authProvider", provider))


@pytest.mark.parametrize(
    ("text", "sentence"), [("a: [", "cannot be read"), (None, "No such file"), ("- 1", "source.type is missing")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    file = tmp_path / "workflow.yaml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(CatalogueError, match=rf"workflow.yaml.*{sentence}") as caught:
        read_workflow(file)

    assert "\n" not in str(caught.value)
