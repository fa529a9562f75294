"""The state of the local stack and of its pipeline, and Airflow's own metrics, for Prometheus."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

from prometheus_client import REGISTRY, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from include.services import champions, storage
from include.services.assets import INCOMING, PROCESSING
from include.tasks.predict_incoming import REJECTED
from local.airflow import Airflow
from local.doctor import examine
from local.settings import load
from local.stack import Stack
from local.statsd import Server, Statsd

PERIOD = 60  # seconds between two measurements
DAY = timedelta(days=1)


class Pipeline(Collector):
    """Publishes the last measurement, so that Prometheus need not wait for one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._metrics: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        yield from self._metrics

    def measure(self) -> None:
        """Measure everything; what cannot be measured is left out, and is a finding of the doctor."""
        now = datetime.now(UTC)
        metrics: list[Metric] = []
        for measure in MEASUREMENTS:
            with suppress(Exception):  # a service that is down must not hide the state of the others
                metrics += measure(self._stack, now)
        measured = gauge("pipeline_measured_seconds", "When all this was measured, Unix time", now.timestamp())
        self._metrics = [measured, *metrics]


def _measure_health(stack: Stack, now: datetime) -> Iterator[Metric]:
    found = GaugeMetricFamily("pipeline_findings", "Findings of make doctor", labels=["subject", "severity"])
    for finding in examine(stack, now):
        if finding.remedy:
            found.add_metric([finding.subject, "error" if finding.is_error else "warning"], 1)
    yield found


def _measure_files(_: Stack, now: datetime) -> Iterator[Metric]:
    waiting = [written for uri in (INCOMING.uri, PROCESSING) for _, _, written in storage.list_details(uri)]
    yield gauge("pipeline_files_waiting", "Files of new rows that wait", len(waiting))
    oldest = (now - min(waiting, default=now)).total_seconds()
    yield gauge("pipeline_files_waiting_seconds", "For how long the oldest of them waits", oldest)
    rejected = [uri for uri, _, written in storage.list_details(REJECTED) if now - written < DAY]
    count = sum(uri.endswith(".reason.txt") for uri in rejected)
    yield gauge("pipeline_files_rejected", "Files of new rows that were rejected within a day", count)


def _measure_versions(_: Stack, now: datetime) -> Iterator[Metric]:
    yield gauge("pipeline_versions_waiting", "Versions without a verdict", len(champions.waiting()))
    since = champions.read_tags(champions.find_champion() or {}).get(champions.PROMOTED)
    seconds = datetime.fromisoformat(since).timestamp() if since else None
    yield gauge("pipeline_champion_since_seconds", "When the champion was promoted, Unix time", seconds)


def _measure_airflow(stack: Stack, now: datetime) -> Iterator[Metric]:
    airflow = Airflow(stack.settings)
    health = {part: found["status"] for part, found in airflow.get("monitor/health").items() if found["status"]}
    healthy = {part: float(status == "healthy") for part, status in health.items()}
    yield gauge("airflow_healthy", "Whether a part of Airflow is well", healthy, "part")
    limits = {"running": {}, "queued": {}, "failed": {"end_date_gte": (now - DAY).isoformat()}}
    counts = {state: airflow.get("dags/~/dagRuns", state=[state], limit=1, **limit) for state, limit in limits.items()}
    runs = {state: found["total_entries"] for state, found in counts.items()}
    yield gauge("airflow_runs", "Runs of DAGs, of failed ones those of a day", runs, "state")
    updated = {
        asset["name"]: datetime.fromisoformat(event["timestamp"]).timestamp()
        for asset in airflow.get("assets", limit=100)["assets"]
        if (event := asset["last_asset_event"])
    }
    yield gauge("pipeline_asset_updated_seconds", "When an asset was last updated, Unix time", updated, "asset")


MEASUREMENTS = (_measure_health, _measure_files, _measure_versions, _measure_airflow)


def gauge(name: str, text: str, values: float | Mapping[str, float] | None = None, label: str = "") -> Metric:
    """Return a gauge with one value, with a value for each value of a label, or with none."""
    family = GaugeMetricFamily(name, text, labels=[label] if label else [])
    by_label = values if isinstance(values, Mapping) else {} if values is None else {"": values}
    for key, value in by_label.items():
        family.add_metric([key] if label else [], float(value))
    return family


def main() -> None:
    """Measure again and again, and answer Prometheus on this machine only."""
    stack = Stack(load(Path(os.environ["STACK_HOME"])))
    pipeline, statsd, port = Pipeline(stack), Statsd(), stack.settings.ports["METRICS_PORT"]
    for collector in (pipeline, statsd):
        REGISTRY.register(collector)
    Thread(target=Server(statsd, port).serve_forever, daemon=True).start()  # the port of UDP
    start_http_server(port, addr="127.0.0.1")
    while True:
        pipeline.measure()
        time.sleep(PERIOD)


if __name__ == "__main__":
    main()
