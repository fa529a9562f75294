"""The settings that the documents give to paste are connections that the hooks understand."""

import re
from pathlib import Path

import pytest
from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
from airflow.sdk import Connection

from include.mlflow_provider.hooks.server import MLflowServer

DOCS = Path(__file__).parents[2] / "docs"
TEXT = "\n".join((DOCS / name).read_text() for name in ("tutorial.md", "storage.md"))
MLFLOW = re.findall(r"^AIRFLOW_CONN_MLFLOW_DEFAULT='(.+)'$", TEXT, re.M)
AWS = re.findall(r"^AIRFLOW_CONN_AWS_DEFAULT='(.+)'$", TEXT, re.M)


def connection(value: str) -> Connection:
    filled = re.sub(r"<([a-z ]+)>", lambda found: found[1].replace(" ", "-"), value)
    return Connection.from_json(filled, conn_id="pasted")


def test_the_settings_for_mlflow_name_a_login_a_token_and_databricks() -> None:
    servers = [MLflowServer.from_connection(connection(value)) for value in MLFLOW]

    assert [(server.base_url, bool(server.login), server.is_databricks) for server in servers] == [
        ("https://mlflow.example.com", True, False),
        ("https://mlflow.internal:8443/tools", False, False),
        ("https://workspace.cloud.databricks.com", False, True),
    ]
    assert servers[1].token == "token"
    assert servers[1].verify == "/etc/ssl/private-ca.pem"


@pytest.mark.parametrize("value", AWS)
def test_the_settings_for_s3_are_those_of_aws_itself(value: str) -> None:
    aws = AwsConnectionWrapper(connection(value))

    assert (aws.aws_access_key_id, aws.aws_secret_access_key) == ("access-key", "secret-key")
    assert aws.region_name == "eu-central-1"
    assert not aws.endpoint_url


def test_both_documents_have_the_settings_for_s3() -> None:
    assert len(AWS) == 2
    assert len(set(AWS)) == 1
