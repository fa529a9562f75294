"""Airflow's own metrics, which its processes send by StatsD, for Prometheus."""

import re
from collections.abc import Iterator
from socketserver import BaseRequestHandler, UDPServer
from threading import Lock

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# https://github.com/statsd/statsd/blob/master/docs/metric_types.md, with tags as InfluxDB has them, and without rates:
# airflow.task.duration,dag_id=train,task_id=tune:12.3|ms
NUMBER = r"(?P<sign>[-+]?)\d+(?:\.\d+)?(?:e[-+]?\d+)?"
LINE = re.compile(rf"(?P<name>[^,:]+)(?:,(?P<tags>[^:]*))?:(?P<value>{NUMBER})\|(?P<kind>c|g|ms)")
MAX_SERIES = 10_000  # what would be more is ignored, so that no sender can fill the memory
TYPES = {"c": "counter", "g": "gauge", "ms": "summary"}


class Statsd(Collector):
    """Sums of counters and timers, and the last values of gauges, of all senders."""

    def __init__(self) -> None:
        # number of values, and their sum or the last one, by kind, name and labels
        self._values: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[int, float]] = {}
        self._lock = Lock()

    def receive(self, datagram: bytes) -> None:
        """Add the values of a datagram; lines that are not of StatsD are ignored."""
        for line in filter(None, map(LINE.fullmatch, datagram.decode(errors="replace").splitlines())):
            tags = (tag.partition("=") for tag in sorted((line["tags"] or "").split(",")) if tag)
            series = (line["kind"], _clean(line["name"]), tuple((_clean(name), value) for name, _, value in tags))
            with self._lock:
                count, total = self._values.get(series, (0, 0.0))
                if count or len(self._values) < MAX_SERIES:
                    is_last = line["kind"] == "g" and not line["sign"]
                    self._values[series] = count + 1, float(line["value"]) + (0 if is_last else total)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric; timers are in seconds."""
        with self._lock:
            values = list(self._values.items())
        families: dict[str, Metric] = {}
        for (kind, name, labels), (count, total) in values:
            full = f"{name}_seconds" if kind == "ms" else name
            family = families.setdefault(full, Metric(full, "See Airflow's documentation of metrics", TYPES[kind]))
            if kind == "ms":
                family.add_sample(f"{full}_count", dict(labels), count)
                family.add_sample(f"{full}_sum", dict(labels), total / 1000)
            else:
                family.add_sample(f"{full}_total" if kind == "c" else full, dict(labels), total)
        yield from families.values()


class Server(UDPServer):
    """Receives for a collector, on this machine only."""

    def __init__(self, collector: Statsd, port: int) -> None:
        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                collector.receive(self.request[0])

        super().__init__(("127.0.0.1", port), Handler)


def _clean(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
