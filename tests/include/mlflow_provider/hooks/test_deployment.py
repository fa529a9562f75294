import json
import os
from datetime import date

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.deployment import MLflowDeploymentHook

TABLE = {"dataframe_split": {"columns": ["head", "tail"], "data": [[94.1, 36.0], [92.5, 36.5]]}}


@pytest.fixture
def deploy(serving):
    return MLflowDeploymentHook("mlflow_default", serving)


@pytest.fixture
def aws(connect):
    """Make a hook whose target has a connection with these fields."""

    def make(**fields):
        connect(host="mlflow", login="me", password="word")
        connect("target", **{"conn_type": "aws", "login": "key", "password": "s3cret", **fields})
        return MLflowDeploymentHook("scripted", "sagemaker", "target")

    return make


def visible(hook):
    """Return the variables that a target would see."""
    with hook.environment():
        return dict(os.environ)


def test_the_target_works_with_the_login_of_the_connection(deploy, name, whoami, hook):
    deploy.create_deployment(name, whoami.uri)
    login, reversed_password, *_ = json.loads(deploy.predict(name, TABLE))["predictions"]
    assert (login, reversed_password[::-1]) == (hook.server.login, hook.server.password)


def test_a_target_that_fails_leaves_nothing_in_the_environment(deploy, name):
    before = dict(os.environ)
    with pytest.raises(KeyError):
        deploy.predict(name, TABLE)
    assert dict(os.environ) == before


class Target:
    """What a plugin's client may answer."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, **arguments):
        return self.answer

    create_deployment = predict


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        ({"a": np.float32(0.5), "b": [np.int64(3)]}, {"a": 0.5, "b": [3]}),
        (pd.DataFrame({"x": [1.5]}), {"x": {"0": 1.5}}),
    ],
)
def test_an_answer_of_any_kind_becomes_json(connect, monkeypatch, answer, expected):
    connect(host="mlflow")
    hook = MLflowDeploymentHook("scripted", "serving")
    monkeypatch.setattr(hook, "get_conn", lambda: Target(answer))
    assert json.loads(hook.predict("x", TABLE)) == expected


def test_an_answer_that_json_cannot_hold_is_reported_and_a_deployment_is_not_undone_by_it(connect, monkeypatch):
    connect(host="mlflow")
    hook = MLflowDeploymentHook("scripted", "serving")
    monkeypatch.setattr(hook, "get_conn", lambda: Target({"name": "x", "since": date(2026, 1, 2)}))
    assert hook.create_deployment("x", "models:/a/1") == {"name": "x", "since": "2026-01-02"}
    with pytest.raises(MLflowError, match="The answer of 'x' at serving is not JSON: it holds a date"):
        hook.predict("x", TABLE)


def test_a_target_without_plugin_is_an_error_that_names_it(services):
    with pytest.raises(MlflowException, match='model deployments to "nowhere"'):
        MLflowDeploymentHook("mlflow_default", "nowhere").predict("x", TABLE)


def test_the_targets_login_is_visible_inside_and_gone_after(aws, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    found = visible(aws(extra={"aws_session_token": "t0ken", "region_name": "eu-west-1"}))
    expected = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_SESSION_TOKEN": "t0ken",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "MLFLOW_TRACKING_USERNAME": "me",
    }
    assert found.items() >= expected.items()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "mine"
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ


def test_the_token_of_another_session_does_not_meet_the_connections_keys(aws, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    assert "AWS_SESSION_TOKEN" not in visible(aws())
    assert os.environ["AWS_SESSION_TOKEN"] == "another"


def test_a_connection_without_keys_leaves_those_of_the_machine(aws, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "machine")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "machine's")
    found = visible(aws(login=None, password=None))
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SESSION_TOKEN"]) == ("machine", "machine's")


def test_a_login_of_another_type_is_left_out_with_a_warning(aws, monkeypatch):
    hook = aws(conn_type="http")
    warnings = []
    # Airflow's log goes past pytest's capture if another test has configured it.
    monkeypatch.setattr(hook.log, "warning", lambda message, *arguments: warnings.append(message % arguments))
    found = visible(hook)
    assert warnings == [
        "Connection 'target' is of type 'http', and only the login of type aws reaches a target: it is left out"
    ]
    assert found.get("AWS_SECRET_ACCESS_KEY") == os.environ.get("AWS_SECRET_ACCESS_KEY")
