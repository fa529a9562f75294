"""Metrics of the model server for Prometheus, named as https://prometheus.io/docs/practices/naming/ recommends."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.mlflow_provider.exceptions import MLflowError
from include.services import champions
from include.serving.answer import Answer, Observer
from include.serving.request_log import RequestLog
from include.serving.shadow import Shadow

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
MEASURED = "/invocations"  # the path whose requests are counted


class Watched(Protocol):
    """The part of ``ChampionServer`` that is used here; importing it would be a cycle."""

    observers: list[Observer]
    on_start: list[Callable[[], None]]
    on_stop: list[Callable[[], None]]
    routes: dict[str, ASGIApp]
    refused_rows: int

    @property
    def version(self) -> str:
        """The version that answers."""


class Metrics:
    """Counts requests and rows; everything else is read at each scrape.

    :param server: whose requests are counted
    :param log: of the requests, if there is one
    :param shadow: the challenger that predicts too, if there is one
    """

    def __init__(self, server: Watched, log: RequestLog | None = None, shadow: Shadow | None = None) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "model_server_requests", "Requests for predictions by HTTP status", ["status"], registry=self.registry
        )
        self._seconds = Histogram(
            "model_server_request_seconds", "Time to answer a request", buckets=BUCKETS, registry=self.registry
        )
        self._rows = Counter("model_server_rows", "Rows predicted", registry=self.registry)
        self._warned = Counter(
            "model_server_warned_rows", "Rows predicted with a warning, such as a new level", registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_State(server, log, shadow))

    def observe(self, answer: Answer) -> None:
        """Count the rows of an answer."""
        self._rows.inc(len(answer.ids))
        self._warned.inc(sum(map(bool, answer.outputs["warnings"])))

    def measure(self, app: ASGIApp) -> ASGIApp:
        """Return the application with its requests for predictions counted and timed."""

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] != MEASURED:
                await app(scope, receive, send)
                return
            status, started = "500", time.perf_counter()

            async def send_and_note(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            try:
                await app(scope, receive, send_and_note)
            finally:
                self._requests.labels(status).inc()
                self._seconds.observe(time.perf_counter() - started)

        return measured

    async def expose(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer Prometheus: an ASGI application."""
        encode, media_type = choose_encoder(Headers(scope=scope).get("accept", ""))
        content = await run_in_threadpool(encode, self.registry)  # MLflow may be asked, which takes time
        await Response(content, media_type=media_type)(scope, receive, send)


class _State:
    """A collector of what the server, its log and the shadow know."""

    def __init__(self, server: Watched, log: RequestLog | None, shadow: Shadow | None) -> None:
        self._server, self._log, self._shadow = server, log, shadow
        self._since: tuple[str, float] = ("", 0.0)  # a version, and when it became champion

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        version = self._server.version
        yield _info("version", "The version that answers", {"model": champions.MODEL, "version": version})
        if since := self._find_since(version):
            yield GaugeMetricFamily(
                "model_server_champion_since_seconds", "When the version became champion, Unix time", value=since
            )
        yield CounterMetricFamily(
            "model_server_refused_rows", "Rows that the checks of values have refused", value=self._server.refused_rows
        )
        if log := self._log:
            yield GaugeMetricFamily("model_server_log_waiting_rows", "Rows that wait to be logged", value=log.waiting)
            yield CounterMetricFamily("model_server_log_written_rows", "Rows that were logged", value=log.written)
            yield CounterMetricFamily("model_server_log_dropped_rows", "Rows that the log has lost", value=log.dropped)
        if shadow := self._shadow:
            yield _info("shadow", "The challenger that predicts too, if one does", {"version": shadow.version})
            yield CounterMetricFamily("model_server_shadow_rows", "Rows that a challenger predicted", value=shadow.rows)
            yield CounterMetricFamily(
                "model_server_shadow_failures", "Times that a challenger could not predict", value=shadow.failures
            )

    def _find_since(self, version: str) -> float:
        """Return when a version became champion, or 0 if that is not known; MLflow is asked once for each."""
        if version and version != self._since[0]:
            with suppress(MLflowError):
                tags = champions.read_tags(champions.connect().get_model_version(champions.MODEL, version))
                if promoted := tags.get(champions.PROMOTED):
                    self._since = version, datetime.fromisoformat(promoted).timestamp()
        return self._since[1] if version == self._since[0] else 0.0


def _info(name: str, text: str, labels: dict[str, str]) -> GaugeMetricFamily:
    """Return a metric whose labels are its content: 1 if the version is there, else 0."""
    family = GaugeMetricFamily(f"model_server_{name}_info", text, labels=[*labels])
    family.add_metric([*labels.values()], float(bool(labels["version"])))
    return family
