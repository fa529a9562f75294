"""DAGs that start when the registry changes: the provider's examples, in a running Airflow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

import include.mlflow_provider as provider
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.triggers.registry import CURSOR
from local.settings import USER
from local.stack import Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import dag_file
from tests.waiting import wait_until

DAG_ID = "example_mlflow_events"
HOOKED_ID = "example_mlflow_webhook"
SECRET = "webhook-s3cret-word"
INTERVAL = 2  # seconds between two looks


def example(dag_id: str) -> str:
    return Path(provider.__file__).with_name("example_dags").joinpath(f"{dag_id}.py").read_text()


def asset_named(airflow: Airflow, name: str) -> int:
    return next(asset["id"] for asset in airflow.get("assets")["assets"] if asset["name"] == name)


@pytest.fixture
def champion(stack: Stack, buckets: None, airflow: Airflow) -> Iterator[int]:
    """The example of events in the stack's DAG folder, with a shorter interval; the id of its asset."""
    shorter = example(DAG_ID).replace('key="champion"', f'key="champion", poke_interval={INTERVAL}')
    assert "poke_interval" in shorter
    with dag_file(stack, airflow, shorter, DAG_ID):
        yield asset_named(airflow, "mlflow_champion")


@pytest.fixture
def receiver(stack: Stack, services: dict[str, str], buckets: None, airflow: Airflow) -> Iterator[str]:
    """The address of the API server's receiver, to which MLflow may send though it is neither https nor public."""
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"]) | {"extra": {"webhook_secret": SECRET}}
    changes = {
        "api-server": {
            "AIRFLOW__MLFLOW__WEBHOOK_RECEIVER": "True",
            "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps(connection),
        },
        "mlflow": {
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        },
    }
    for program, variables in changes.items():
        restart(stack, program, variables)
    with dag_file(stack, airflow, example(HOOKED_ID), HOOKED_ID):
        yield f"{stack.settings.url('airflow')}/mlflow/webhooks/mlflow_default"
    for program in changes:
        restart(stack, program, {})


def restart(stack: Stack, program: str, variables: dict[str, str]) -> None:
    """Start a program again with more variables, and wait until its service is ready."""
    stack.stop_program(program)
    stack.settings.write_environments([program])
    file = stack.settings.home / "environments" / f"{program}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | variables))
    stack.supervisor.supervisor.startProcess(program)
    stack.start(["mlflow", "airflow"])


@pytest.fixture
def administrator(stack: Stack, services: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> MLflowClientHook:
    """The hook of the user who may create webhooks."""
    connection = json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    login = {"login": USER, "password": stack.settings.secrets()["MLFLOW_PASSWORD"]}
    monkeypatch.setenv("AIRFLOW_CONN_ADMINISTRATOR", json.dumps(connection | login))
    return MLflowClientHook(mlflow_conn_id="administrator")


def wait_for_cursor(airflow: Airflow, asset_id: int, version: str | None) -> None:
    """Wait until the asset's state store says that the watcher has seen the registry, and this champion in it."""

    def has_seen() -> bool:
        found = cursor(airflow, asset_id)
        return found is not None and found.get("lengths", {}).get("champion") == version

    wait_until(has_seen, 90, lambda: cursor(airflow, asset_id))


def cursor(airflow: Airflow, asset_id: int) -> Any:
    entries = airflow.get(f"assets/{asset_id}/state-store")["asset_state_store"]
    return next((entry["value"] for entry in entries if entry["key"] == CURSOR), None)


def champions(airflow: Airflow, asset_id: int) -> list[str]:
    """Return the version in each event of the asset, in order, once no run is waiting or active."""
    airflow.wait_until_idle(DAG_ID)
    events = airflow.get("assets/events", asset_id=asset_id, order_by="timestamp")["asset_events"]
    return [event["extra"]["payload"]["version"] for event in events]


def test_each_change_of_the_champion_starts_one_run_whatever_happens_to_the_triggerer(
    champion: int, stack: Stack, airflow: Airflow
) -> None:
    mlflow, programs = MLflowClientHook(), stack.supervisor.supervisor
    mlflow.create_registered_model("lengths")
    for _ in range(2):
        mlflow.create_model_version("lengths", "s3://nowhere/model")
    wait_for_cursor(airflow, champion, None)
    mlflow.set_registered_model_alias("lengths", "champion", 1)
    wait_for_cursor(airflow, champion, "1")
    assert champions(airflow, champion) == ["1"]

    stack.stop_program("triggerer")
    mlflow.set_registered_model_alias("lengths", "champion", 2)
    programs.startProcess("triggerer")
    wait_for_cursor(airflow, champion, "2")
    programs.signalProcessGroup("triggerer", "KILL")  # supervisord starts it again
    mlflow.set_registered_model_alias("lengths", "champion", 1)
    wait_for_cursor(airflow, champion, "1")
    assert champions(airflow, champion) == ["1", "2", "1"]
    states = [airflow.run(DAG_ID, run_id)["state"] for run_id in airflow.run_ids(DAG_ID)]
    assert states == ["success"] * 3


def test_mlflow_sends_its_webhook_and_a_dag_starts(
    receiver: str, administrator: MLflowClientHook, airflow: Airflow
) -> None:
    events = [{"entity": "MODEL_VERSION", "action": "CREATED"}]
    webhook = {"name": "airflow", "url": receiver, "events": events, "secret": SECRET}
    administrator.call("POST", "api/2.0/mlflow/webhooks", webhook)
    administrator.create_registered_model("lengths", exist_ok=True)
    version = administrator.create_model_version("lengths", "s3://nowhere/model")["version"]
    airflow.wait_for_new_runs(HOOKED_ID, timeout=90)
    airflow.wait_until_idle(HOOKED_ID)
    (event,) = airflow.get("assets/events", asset_id=asset_named(airflow, "mlflow_lengths"))["asset_events"]
    payload = event["extra"]["payload"]
    assert (payload["event"], payload["model"], payload["version"]) == ("model_version.created", "lengths", version)
    assert [airflow.run(HOOKED_ID, run_id)["state"] for run_id in airflow.run_ids(HOOKED_ID)] == ["success"]
