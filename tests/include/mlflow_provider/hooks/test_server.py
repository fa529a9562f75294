import json
import traceback

import pytest
from airflow.sdk import Connection

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.server import MLflowServer


def server(**fields):
    return MLflowServer.from_connection(Connection(conn_id="c", **{"conn_type": "http", **fields}))


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "mlflow"}, "http://mlflow"),
        ({"host": "mlflow", "port": 5000}, "http://mlflow:5000"),
        ({"host": "mlflow", "schema": "https", "port": 8443}, "https://mlflow:8443"),
        ({"host": "https://mlflow/"}, "https://mlflow"),
        ({"host": "https://mlflow/team/a/", "port": 8443}, "https://mlflow:8443/team/a"),
        ({"host": "mlflow:5000/team", "schema": "https"}, "https://mlflow:5000/team"),
        ({"host": "http://[::1]", "port": 5000}, "http://[::1]:5000"),
        ({"host": "mlflow", "conn_type": "https"}, "https://mlflow"),
        ({"host": "dbc-1.cloud.databricks.com", "login": "token"}, "https://dbc-1.cloud.databricks.com"),
        ({"host": "adb-1.2.azuredatabricks.net/"}, "https://adb-1.2.azuredatabricks.net"),
        ({"host": "adb-1.2.azuredatabricks.net:443"}, "https://adb-1.2.azuredatabricks.net:443"),
        ({"host": "cloud.databricks.com.example.org"}, "http://cloud.databricks.com.example.org"),
        ({"host": " ADB-1.2.AzureDatabricks.net. "}, "https://adb-1.2.azuredatabricks.net."),
    ],
)
def test_base_url_has_schema_host_port_and_prefix(fields, url):
    assert server(**fields).base_url == url


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "names no host"),
        ({"host": "mlflow", "schema": "ftp"}, "schema must be http or https"),
        ({"host": "mlflow:s3cret-word"}, "a number as port"),
        ({"host": "http://me:1/s3cret-word@mlflow"}, "put credentials into login and password"),
        ({"host": "http://[::1"}, "no usable address"),
        ({"host": "mlflow", "password": "s3cret-word\n"}, "the token has a line break"),
        ({"host": "mlflow", "login": "token", "password": "s3cret-wörd"}, "a character that is not ASCII"),
        (
            {"host": "mlflow", "extra": '{"headers": {"X-Key": "s3cret-word\\n"}}'},
            "the header 'X-Key' has a line break",
        ),
        ({"host": "mlflow", "extra": '{"headers": ["X-Key"]}'}, "`headers` must be a JSON object"),
        ({"host": "mlflow", "extra": '{"timeout": "soon"}'}, "`timeout` must be seconds"),
        ({"host": "mlflow", "extra": '{"timeout": -1}'}, "`timeout` must be seconds above 0, not -1"),
        ({"host": "mlflow", "extra": '{"timeout": 0}'}, "`timeout` must be seconds above 0, not 0"),
        ({"host": "mlflow", "extra": '{"timeout": Infinity}'}, "`timeout` must be seconds above 0, not inf"),
        ({"host": "mlflow", "extra": '{"timeout": "nan"}'}, "`timeout` must be seconds above 0, not 'nan'"),
        ({"host": "mlflow", "extra": '{"registry_uri": "databricks-uc://"}'}, "its registry_uri a name, an address"),
        ({"host": "mlflow", "extra": '{"registry_uri": "databricks-uc"}'}, "of a Databricks workspace its URL"),
        ({"host": "databricks"}, "of a Databricks workspace its URL"),
    ],
)
def test_an_unusable_connection_is_named_in_the_error(fields, complaint):
    with pytest.raises(MLflowError, match=complaint) as caught:
        server(**fields)
    assert "'c'" in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_login_token_means_a_bearer_token():
    assert server(host="mlflow", login="token", password="t0ken").token == "t0ken"
    assert server(host="mlflow", password="t0ken").token == "t0ken"
    assert server(host="mlflow", login="me", password="t0ken").token is None


@pytest.mark.parametrize(
    ("extra", "verify"),
    [
        ({}, True),
        ({"verify": True, "ca_bundle": None}, True),
        ({"verify": True, "ca_bundle": "/ca.pem"}, "/ca.pem"),
        ({"verify": "/ca.pem"}, "/ca.pem"),
        ({"verify": "true", "ca_bundle": "/ca.pem"}, "/ca.pem"),
        ({"verify": False, "ca_bundle": "/ca.pem"}, False),
        ({"verify": "false"}, False),
    ],
)
def test_tls_is_checked_unless_the_connection_says_otherwise(extra, verify):
    assert server(host="https://mlflow", extra=json.dumps(extra)).verify == verify


def test_the_fields_of_an_empty_form_change_nothing():
    empty = {"registry_uri": None, "ui_uri": "", "verify": None, "ca_bundle": "", "timeout": None}
    assert server(host="mlflow", extra=json.dumps(empty)) == server(host="mlflow")


def test_the_registry_may_be_on_another_server():
    found = server(host="mlflow", extra='{"registry_uri": "https://registry:8443/team/"}')
    assert (
        found.url("api/2.0/mlflow/model-versions/get") == "https://registry:8443/team/api/2.0/mlflow/model-versions/get"
    )
    assert found.url("/api/2.0/mlflow/registered-models/get").startswith("https://registry:8443/team/api/")
    assert found.url("api/2.0/mlflow/runs/get") == "http://mlflow/api/2.0/mlflow/runs/get"


def test_a_registry_at_databricks_is_asked_over_tls_wherever_the_runs_are():
    found = server(host="mlflow", extra='{"registry_uri": "adb-1.2.azuredatabricks.net/"}')
    assert (found.base_url, found.registry_url) == ("http://mlflow", "https://adb-1.2.azuredatabricks.net")


def test_pages_are_where_a_browser_finds_them():
    assert (
        server(host="http://me:word@mlflow/a").page("models", "it's 50%") == "http://mlflow/a/#/models/it%27s%2050%25"
    )
    assert server(host="mlflow", extra='{"ui_uri": "https://ui/m"}').page("models") == "https://ui/m/#/models"
    assert server(host="dbc-1.cloud.databricks.com").page("models") == "https://dbc-1.cloud.databricks.com/ml/models"


def test_pages_of_the_registry_are_on_its_server_unless_the_connection_says_otherwise():
    extra = {"registry_uri": "https://registry/m"}
    found = server(host="mlflow", extra=json.dumps(extra))
    assert found.page("models", "a", "versions", "1") == "https://registry/m/#/models/a/versions/1"
    assert found.page("experiments", "1", "models", "m-1") == "http://mlflow/#/experiments/1/models/m-1"
    found = server(host="mlflow", extra=json.dumps(extra | {"ui_uri": "https://ui"}))
    assert found.page("models", "a") == "https://ui/#/models/a"
    assert found.page() == "https://ui/#"


def test_a_login_in_the_host_is_used_but_not_part_of_the_url():
    found = server(host="http://me:my%20word@mlflow:5000")
    assert (found.base_url, found.login, found.password) == ("http://mlflow:5000", "me", "my word")


def test_the_password_is_not_in_the_representation():
    shown = repr(server(host="mlflow", login="me", password="s3cret-word", extra='{"headers": {"X": "hidden"}}'))
    assert "s3cret-word" not in shown
    assert "hidden" not in shown
