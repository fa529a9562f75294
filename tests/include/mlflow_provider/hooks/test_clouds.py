import json
from base64 import b64decode
from importlib.metadata import version

import pytest
import requests

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.base import MLflowBaseHook
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer, ScriptedServer
from ..wheels import build, install, run

ARN = "arn:aws:sagemaker:us-west-2:123456789012:mlflow-tracking-server/lengths"
AZURE = (
    "azureml://westus2.api.azureml.ms/mlflow/v1.0/subscriptions/s/resourceGroups/g"
    "/providers/Microsoft.MachineLearningServices/workspaces/w"
)
EXPERIMENTS = '{"experiments": [{"name": "a"}]}'


@pytest.mark.parametrize(("uri", "extra"), [(ARN, "sagemaker"), (AZURE, "azureml")])
def test_a_plugin_that_is_not_installed_is_named(connect, uri, extra):
    connect("cloud", host=uri)
    with pytest.raises(MLflowError, match=rf"Connection 'cloud': no login with its cloud: .* extra \[{extra}\]"):
        list(MLflowClientHook(mlflow_conn_id="cloud").search_experiments())


def test_the_secret_of_a_service_principal_goes_to_the_variables_of_oauth(connect):
    connect("cloud", host="adb-1.2.azuredatabricks.net", login="client", password="s3cret-word")
    variables = MLflowBaseHook("cloud").get_env_vars()
    assert variables["DATABRICKS_CLIENT_ID"] == "client"
    assert variables["DATABRICKS_CLIENT_SECRET"] == "s3cret-word"
    assert "DATABRICKS_TOKEN" not in variables


def test_requests_carry_the_oauth_token_that_the_databricks_sdk_fetched(scripted, connect, monkeypatch):
    from databricks.sdk import config, oauth

    server = scripted(Answer(200, '{"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600}'))
    endpoints = oauth.OidcEndpoints("http://unused", f"http://127.0.0.1:{server.port}/token")
    monkeypatch.setattr(config.Config, "databricks_oidc_endpoints", endpoints)
    monkeypatch.setattr(config.Config, "_resolve_host_metadata", lambda self: None)
    connect("cloud", host="adb-1.2.azuredatabricks.net", login="client", password="s3cret-word")
    session = MLflowClientHook(mlflow_conn_id="cloud").session
    request = session.prepare_request(requests.Request("GET", "https://adb-1.2.azuredatabricks.net/api/2.0/mlflow"))
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert server.requests[0][1] == "/token"
    assert b64decode(server.requests[0][2]["Authorization"].removeprefix("Basic ")) == b"client:s3cret-word"


SCRIPT = """
import json, sys
from unittest import mock
import requests
from mlflow_provider.hooks.client import MLflowClientHook
arn, azure = MLflowClientHook(mlflow_conn_id="arn"), MLflowClientHook(mlflow_conn_id="azure")
experiments = list(arn.search_experiments())
from azure.core.credentials import AccessToken
from azure.identity import ChainedTokenCredential
with mock.patch.object(ChainedTokenCredential, "get_token", lambda *_, **__: AccessToken("t0ken", 2**40)):
    request = azure.session.prepare_request(requests.Request("GET", azure.server.url("api/2.0/mlflow/runs/get")))
token, uri = request.headers["Authorization"], azure.get_env_vars()["MLFLOW_TRACKING_URI"]
print(json.dumps([experiments, request.url, token, uri]))
"""


@pytest.mark.extended
def test_requests_to_sagemaker_are_signed_and_those_to_azure_carry_its_token(tmp_path):
    """The makers' own plugins, in an environment with the wheel; a server of this test stands for SageMaker's."""
    server, wheel = ScriptedServer([Answer(body=EXPERIMENTS)]), f"{build(tmp_path)}[sagemaker,azureml]"
    programs = install(tmp_path / "environment", wheel, f"apache-airflow=={version('apache-airflow')}")
    environment = {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW_CONN_ARN": json.dumps({"conn_type": "mlflow", "host": ARN}),
        "AIRFLOW_CONN_AZURE": json.dumps({"conn_type": "mlflow", "host": AZURE}),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": f"http://127.0.0.1:{server.port}",
    }
    printed = run(programs / "python", "-c", SCRIPT, env=environment)
    experiments, url, token, uri = json.loads(printed.splitlines()[-1])
    assert experiments == [{"name": "a"}]
    assert server.requests[0][2]["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
    address = AZURE.replace("azureml", "https", 1).replace("v1.0", "v2.0")  # as the plugin translates it
    assert (url, token) == (f"{address}/api/2.0/mlflow/runs/get", "Bearer t0ken")
    assert uri == AZURE
    server.stop()
