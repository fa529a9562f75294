"""Who can see the token and the login while a task runs."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from include import settings
from include.openmetadata.operator import ConnectorOperator

from .programs import TOKEN

# Airflow's merging of arguments needs a context with a key for the function.
CONTEXT: Any = {"ti": SimpleNamespace(bundle_instance=None), "run_id": "manual__1"}
PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")  # one without Airflow
MLFLOW = {"conn_type": "mlflow", "host": "http://localhost:5000", "login": "airflow", "password": "a-mlflow-password"}
OPENMETADATA = {"conn_type": "http", "host": "example.com", "port": 8585, "schema": "https", "password": TOKEN}


def inspect(workflow: str) -> dict[str, Any]:
    import os
    from pathlib import Path

    file = Path(os.environ["OPENMETADATA_TOKEN_FILE"])
    return {
        "token": file.read_text(),
        "file": str(file),
        "modes": [oct(path.stat().st_mode & 0o777) for path in (file, file.parent)],
        "environment": dict(os.environ),
        "argv": Path("/proc/self/cmdline").read_text() if Path("/proc").exists() else "",
    }


def fail(workflow: str) -> None:
    import os

    raise RuntimeError(os.environ["OPENMETADATA_TOKEN_FILE"])


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OPENMETADATA_DEFAULT", json.dumps(OPENMETADATA))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(MLFLOW))


def operator(function: Any = inspect, python: str = PYTHON) -> ConnectorOperator:
    with DAG("catalogue", schedule=None), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "OPENMETADATA_PYTHON", python)
        workflow = str(settings.OPENMETADATA_WORKFLOW)
        return ConnectorOperator(task_id="inspect", python_callable=function, workflow=workflow)


def test_only_the_process_has_token_and_login_and_the_token_is_in_a_file_of_this_user(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-key-of-s3")
    task = operator()

    seen = task.execute(CONTEXT)

    environment = seen["environment"]
    assert seen["token"] == TOKEN
    assert seen["modes"] == ["0o600", "0o700"]
    assert not Path(seen["file"]).exists()
    assert environment["OPENMETADATA_HOST_PORT"] == "https://example.com:8585/api"
    assert environment["MLFLOW_TRACKING_PASSWORD"] == "a-mlflow-password"
    assert not {TOKEN, "a-key-of-s3"}.intersection(environment.values())
    assert not [name for name in environment if name.startswith("AIRFLOW")]
    rendered = repr([getattr(task, field) for field in task.template_fields])
    for secret in (TOKEN, "a-mlflow-password"):
        assert secret not in seen["argv"] + rendered + caplog.text + repr(task.env_vars)


def test_the_file_is_deleted_when_the_process_fails() -> None:
    with pytest.raises(Exception, match="openmetadata-") as caught:
        operator(fail).execute(CONTEXT)

    assert not Path(str(caught.value).split()[-1]).exists()


def test_a_missing_environment_is_named_with_the_remedy() -> None:
    with pytest.raises(AirflowFailException, match=r"make setup-openmetadata.*ARG OPENMETADATA=1"):
        operator(python="/nowhere/bin/python").execute(CONTEXT)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (None, "There is no connection openmetadata_default: define it with type HTTP"),
        ({"host": None}, "has no usable host"),
        ({"host": "https://name:login@example.com"}, "has no usable host"),
        ({"password": None}, "has no usable token"),
        ({"password": f"{TOKEN}\n{TOKEN}"}, "has no usable token"),
    ],
)
def test_an_unusable_connection_is_named_and_not_retried(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any] | None, sentence: str
) -> None:
    if change:
        monkeypatch.setenv("AIRFLOW_CONN_OPENMETADATA_DEFAULT", json.dumps(OPENMETADATA | change))
    else:
        monkeypatch.delenv("AIRFLOW_CONN_OPENMETADATA_DEFAULT")

    with pytest.raises(AirflowFailException, match=sentence) as caught:
        operator().execute(CONTEXT)

    assert TOKEN not in str(caught.value)
    assert "login" not in str(caught.value)
