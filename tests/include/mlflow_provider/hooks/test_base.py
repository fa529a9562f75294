from __future__ import annotations

import os

import mlflow
import pytest

from include.mlflow_provider.hooks.base import MLflowBaseHook


@pytest.mark.parametrize(
    ("fields", "variables"),
    [
        (
            {"host": "https://mlflow/prefix", "port": 8443, "login": "me", "password": "word"},
            {
                "MLFLOW_TRACKING_URI": "https://mlflow:8443/prefix",
                "MLFLOW_TRACKING_USERNAME": "me",
                "MLFLOW_TRACKING_PASSWORD": "word",
            },
        ),
        (
            {"host": "mlflow", "login": "token", "password": "t0ken"},
            {"MLFLOW_TRACKING_URI": "http://mlflow", "MLFLOW_TRACKING_TOKEN": "t0ken"},
        ),
        (
            {"host": "dbc-1.cloud.databricks.com", "login": "token", "password": "t0ken"},
            {
                "MLFLOW_TRACKING_URI": "databricks",
                "DATABRICKS_HOST": "https://dbc-1.cloud.databricks.com",
                "DATABRICKS_TOKEN": "t0ken",
            },
        ),
        (
            {"host": "mlflow", "extra": {"registry_uri": "https://registry"}},
            {"MLFLOW_TRACKING_URI": "http://mlflow", "MLFLOW_REGISTRY_URI": "https://registry"},
        ),
        (
            {"host": "mlflow", "extra": {"verify": "/ca.pem"}},
            {"MLFLOW_TRACKING_URI": "http://mlflow", "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem"},
        ),
        (
            {"host": "mlflow", "extra": {"verify": False}},
            {"MLFLOW_TRACKING_URI": "http://mlflow", "MLFLOW_TRACKING_INSECURE_TLS": "true"},
        ),
    ],
)
def test_variables_follow_the_connection(connect, fields, variables):
    connect(**fields)
    found = MLflowBaseHook("scripted").get_env_vars()
    assert {name: value for name, value in found.items() if name in MLflowBaseHook.mlflow_env_variables} == variables


def test_two_attempts_at_a_dead_server_end_well_below_a_minute(connect):
    connect(host="mlflow")
    found = MLflowBaseHook("scripted").get_env_vars()
    attempts = 1 + int(found["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert attempts * int(found["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 40


def test_the_mlflow_library_works_inside_and_nothing_stays(services, experiment_id):
    before = dict(os.environ)
    with MLflowBaseHook().environment():
        assert mlflow.MlflowClient().get_experiment(experiment_id).name == "provider"
        assert "MLFLOW_TRACKING_PASSWORD" in os.environ
    assert dict(os.environ) == before


def test_a_login_of_another_kind_is_absent_inside_and_back_after(connect, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    connect(host="mlflow", login="token", password="t0ken")
    with MLflowBaseHook("scripted").environment():
        assert "MLFLOW_TRACKING_USERNAME" not in os.environ
        assert os.environ["MLFLOW_TRACKING_TOKEN"] == "t0ken"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "somebody"
