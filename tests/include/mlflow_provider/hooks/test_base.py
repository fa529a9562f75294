import os

import mlflow
import pytest

from include.mlflow_provider.hooks.base import MLflowBaseHook


@pytest.mark.parametrize(
    ("fields", "variables"),
    [
        (
            {"host": "https://mlflow/prefix", "port": 8443, "login": "me", "password": "word"},
            {"URI": "https://mlflow:8443/prefix", "USERNAME": "me", "PASSWORD": "word"},
        ),
        ({"host": "mlflow", "login": "token", "password": "t0ken"}, {"URI": "http://mlflow", "TOKEN": "t0ken"}),
        (
            {"host": "dbc-1.cloud.databricks.com", "login": "token", "password": "t0ken"},
            {"URI": "databricks", "DATABRICKS_HOST": "https://dbc-1.cloud.databricks.com", "DATABRICKS_TOKEN": "t0ken"},
        ),
        (
            {"host": "mlflow", "extra": {"registry_uri": "https://registry"}},
            {"URI": "http://mlflow", "MLFLOW_REGISTRY_URI": "https://registry"},
        ),
        ({"host": "mlflow", "extra": {"verify": "/ca.pem"}}, {"URI": "http://mlflow", "SERVER_CERT_PATH": "/ca.pem"}),
        ({"host": "mlflow", "extra": {"verify": False}}, {"URI": "http://mlflow", "INSECURE_TLS": "true"}),
    ],
)
def test_variables_follow_the_connection(connect, fields, variables):
    connect(**fields)
    found = MLflowBaseHook("scripted").get_env_vars()
    logins = {name: value for name, value in found.items() if name in MLflowBaseHook.mlflow_env_variables}
    assert {name.removeprefix("MLFLOW_TRACKING_"): value for name, value in logins.items()} == variables


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


@pytest.mark.parametrize("name", ["USERNAME", "AUTH", "AWS_SIGV4"])
def test_a_login_of_another_kind_is_absent_inside_and_back_after(connect, monkeypatch, name):
    monkeypatch.setenv(variable := f"MLFLOW_TRACKING_{name}", "another")
    connect(host="mlflow", login="token", password="t0ken")
    with MLflowBaseHook("scripted").environment():
        assert variable not in os.environ
        assert os.environ["MLFLOW_TRACKING_TOKEN"] == "t0ken"
    assert os.environ[variable] == "another"


@pytest.mark.parametrize(("login", "warned"), [("token", 1), (None, 1), ("me", 0)])
def test_a_login_in_mlflows_own_file_is_warned_of_where_it_wins(connect, monkeypatch, tmp_path, login, warned):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[mlflow]\nmlflow_tracking_username = somebody\n")
    connect(host="mlflow", login=login, password="s3cret-word")
    hook, warnings = MLflowBaseHook("scripted"), []
    # Airflow's log goes past pytest's capture if another test has configured it.
    monkeypatch.setattr(hook.log, "warning", lambda message, *arguments: warnings.append(message % arguments))
    with hook.environment():
        assert (mlflow.utils.credentials.read_mlflow_creds().username == "somebody") == bool(warned)
    assert warnings == ["A login in ~/.mlflow/credentials wins over connection 'scripted': remove it"] * warned
