"""Metrics that Airflow's own StatsD clients send, as Prometheus reads them."""

from collections.abc import Iterator
from threading import Thread

import pytest
from airflow.observability.metrics.statsd_logger import get_statsd_logger
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from local.statsd import MAX_SERIES, Server, Statsd
from tests.waiting import wait_until


@pytest.fixture
def statsd() -> Statsd:
    return Statsd()


@pytest.fixture
def port(statsd: Statsd) -> Iterator[int]:
    with Server(statsd, 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def read(statsd: Statsd) -> dict[str, float]:
    """Return the samples in Prometheus's format by name and labels."""
    registry = CollectorRegistry()
    registry.register(statsd)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *map("=".join, sample.labels.items())]): sample.value for sample in samples}


def test_what_airflow_sends_is_read(statsd: Statsd, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"HOST": "127.0.0.1", "PORT": str(port), "INFLUXDB_ENABLED": "True"}
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
    for _ in range(2):  # two processes
        client = get_statsd_logger()
        client.incr("ti.finish", 3, tags={"dag_id": "train", "state": "success"})
        client.gauge("pool.open_slots", 128, tags={"pool_name": "default_pool"})
        client.timing("task.duration", 1500.0, tags={"dag_id": "train"})
    client.gauge("pool.open_slots", -28, delta=True, tags={"pool_name": "default_pool"})
    client.incr("scheduler.heartbeat")

    wait_until(lambda: "airflow_scheduler_heartbeat_total" in read(statsd), timeout=10)
    assert read(statsd) == {
        "airflow_ti_finish_total dag_id=train state=success": 6,
        "airflow_pool_open_slots pool_name=default_pool": 100,
        "airflow_task_duration_seconds_count dag_id=train": 2,
        "airflow_task_duration_seconds_sum dag_id=train": 3,
        "airflow_scheduler_heartbeat_total": 1,
    }


@pytest.mark.parametrize("datagram", [b"", b"\xff\x00", b"name", b"name:text|c", b"name:1|s", b"a:1e|g", b":1|c"])
def test_what_is_not_statsd_is_ignored(statsd: Statsd, datagram: bytes) -> None:
    statsd.receive(datagram + b"\nairflow.known:1|c")

    assert read(statsd) == {"airflow_known_total": 1}


def test_the_number_of_series_is_bounded(statsd: Statsd) -> None:
    for number in range(MAX_SERIES + 10):
        statsd.receive(f"name,number={number}:1|g".encode())
    statsd.receive(b"name,number=0:5|g")

    found = read(statsd)
    assert len(found) == MAX_SERIES
    assert found["name number=0"] == 5
