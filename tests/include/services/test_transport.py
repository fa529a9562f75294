"""Settings of the events: whether they are sent, and to which server."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.settings import PROJECT, Settings
from tests.published import rebuild

# Sends the events of a task that wrote a table, through Airflow's listeners. Settings are read at import: a process.
PROGRAM = """
import pandas
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.plugins.openlineage import OpenLineageProviderPlugin
from include.services import lineage
from include.services.openlineage import to_lineage

lineage.note_written("s3://data/houses.parquet", pandas.DataFrame({"address": ["1", "2"]}))
about = dict.fromkeys(("nominal_start_time", "nominal_end_time", "owners", "tags", "job_description"))
about |= {"run_id": "01998c1e-0000-7000-8000-000000000000", "job_name": "feature_eng.extract_data"}
now = "2026-11-21T12:00:00+00:00"
for listener in OpenLineageProviderPlugin.listeners:
    listener.adapter.start_task(event_time=now, task=OperatorLineage(), **about)
    listener.adapter.complete_task(end_time=now, task=to_lineage(lineage.take()), **about)
"""


@pytest.fixture
def received(receiver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Path and content of what a lineage server, such as Marquez, receives; the transport names the server."""
    transport = {"type": "http", "url": receiver.url, "endpoint": "api/v1/lineage"}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    return receiver.posts


def send_events(home: Path) -> str:
    """Send the events, and return their namespace."""
    environment = Settings(home=home).environment() | {"PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return environment["AIRFLOW__OPENLINEAGE__NAMESPACE"]


def test_events_go_to_the_server_that_the_transport_names(received: list[Any], tmp_path: Path) -> None:
    namespace = send_events(tmp_path)

    assert [path for path, _ in received] == ["/api/v1/lineage"] * 2
    started, ended = (rebuild(event) for _, event in received)
    assert (started.eventType.value, ended.eventType.value) == ("START", "COMPLETE")
    assert (ended.job.namespace, ended.job.name) == (namespace, "feature_eng.extract_data")
    (written,) = ended.outputs
    assert (written.namespace, written.name) == ("s3://data", "houses.parquet")
    assert [column.name for column in written.facets["schema"].fields] == ["address"]


def test_one_setting_turns_events_off(received: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__DISABLED", "True")

    send_events(tmp_path)

    assert received == []
