"""Metrics of a running server, read as Prometheus reads them, and by Prometheus itself."""

import json
import math
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from include.problem import PROBLEM
from include.services import champions, storage
from include.services.assets import REQUESTS
from include.serving import metrics, model_server, request_log, watch
from include.serving.answer import Answer
from include.serving.guard import Guard, Rules
from include.serving.metrics import Metrics
from include.serving.model_server import ChampionServer
from include.serving.request_log import RequestLog
from include.settings import INCLUDE

from ...network import free_port
from ...promtool import check_alerts, needs_prometheus
from ..conftest import Registered
from .conftest import Records, ask, serving, wait_until

NUMBER = PROBLEM.numbers[0]
GRAFANA = INCLUDE.parent / "containers" / "grafana"
QUERIES = [
    target["expr"].replace("$__rate_interval", "1m")
    for panel in json.loads((GRAFANA / "dashboard.json").read_text())["panels"]
    for target in panel["targets"]
]


def read(url: str) -> dict[tuple[str, str], float]:
    """Return the value of each sample of a server by its name and first label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
        for sample in family.samples
    }


@pytest.fixture
def watched(waiting: Registered, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that everything watches: version 1 answers, version 2 waits in its shadow."""
    monkeypatch.setattr(model_server, "POLL", 0.25)
    monkeypatch.setattr(watch, "REQUEST_LOG", True)
    monkeypatch.setattr(watch, "SHADOW", True)
    monkeypatch.setattr(metrics.champions, "MODEL", waiting.name)
    monkeypatch.setattr(request_log, "REQUESTS", f"{REQUESTS}/unit-metrics")
    monkeypatch.setattr(watch, "RequestLog", partial(RequestLog, seconds=0.2))
    server = ChampionServer()
    with serving(watch.watch(server, Guard(server, Rules(limit=50_000)))) as url:
        wait_until(lambda: server.version == "1")
        yield url
    storage.delete_folder(f"{REQUESTS}/unit-metrics")


def test_requests_rows_versions_log_and_shadow_are_published(watched: str, records: Records) -> None:
    ask(watched, records)
    ask(watched, [records[0] | {NUMBER: math.inf}, records[1]])
    httpx.post(f"{watched}/invocations", content=b" " * 60_000)
    httpx.get(f"{watched}/ping")
    wait_until(lambda: read(watched)["model_server_log_written_rows_total", ""] == 3)

    found = read(watched)

    assert [found["model_server_requests_total", status] for status in ("200", "400", "413")] == [1, 1, 1]
    assert found["model_server_request_seconds_count", ""] == 3
    assert found["model_server_rows_total", ""] == 3
    assert found["model_server_warned_rows_total", ""] == 0
    assert found["model_server_refused_rows_total", ""] == 2
    assert found["model_server_version_info", champions.MODEL] == 1
    assert found["model_server_champion_since_seconds", ""] == datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert found["model_server_shadow_info", "2"] == 1
    assert found["model_server_shadow_rows_total", ""] == 3
    assert found["model_server_log_dropped_rows_total", ""] == 0
    assert found["process_resident_memory_bytes", ""] > 1e7


def test_requests_are_in_the_bucket_with_the_id_of_the_response(watched: str, records: Records) -> None:
    response = ask(watched, records)
    wait_until(lambda: read(watched)["model_server_log_written_rows_total", ""] == 3)

    (uri,) = storage.list_objects(f"{REQUESTS}/unit-metrics")
    logged = storage.read_table(uri)

    request_id = response.headers["X-Prediction-Id"]
    assert logged["prediction_id"].tolist() == [f"{request_id}-{row}" for row in (1, 2, 3)]
    assert logged["predicted"].tolist() == [row["prediction"] for row in response.json()["predictions"]]
    assert json.loads(logged[PROBLEM.inputs].to_json(orient="records")) == records
    assert logged["_challenger"].tolist() == ["2"] * 3


def test_a_server_without_log_and_shadow_does_not_publish_them() -> None:
    counted = Metrics(ChampionServer())
    counted.observe(Answer("1", {}, {"prediction": [1.0, 2.0], "warnings": ["", "odd"]}, ["a-1", "a-2"]))

    samples = {sample.name: sample.value for family in counted.registry.collect() for sample in family.samples}

    assert (samples["model_server_rows_total"], samples["model_server_warned_rows_total"]) == (2, 1)
    assert samples["model_server_version_info"] == 0
    assert not [name for name in samples if "_log_" in name or "shadow" in name or "since" in name]


@needs_prometheus
def test_every_query_of_the_dashboard_has_an_answer_from_prometheus(
    watched: str, records: Records, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "500ms"
    config["rule_files"] = [str(GRAFANA / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [watched.removeprefix("http://")]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]

    def query(expression: str) -> list[float]:
        answer = httpx.get(f"http://{address}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return [float(result["value"][1]) for result in answer["data"]["result"]]

    def has_answer(expression: str) -> bool:
        ask(watched, records)
        ask(watched, [{}])
        values = query(expression)
        return bool(values) and all(map(math.isfinite, values))

    with (tmp_path / "log").open("w") as output:
        prometheus = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address={address}"], stdout=output, stderr=output
        )
    try:
        wait_until(lambda: _is_ready(address))
        for expression in QUERIES:
            wait_until(lambda expression=expression: has_answer(expression), timeout=30)
        groups = httpx.get(f"http://{address}/api/v1/rules").json()["data"]["groups"]
        wait_until(lambda: query('up{job="model-server"}') == [1])
    finally:
        prometheus.terminate()
        prometheus.wait(timeout=30)
    assert [rule["health"] for group in groups for rule in group["rules"] if rule["health"] == "err"] == []
    assert len(groups[0]["rules"]) == len(yaml.safe_load((GRAFANA / "alerts.yml").read_text())["groups"][0]["rules"])


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready").is_success
    except httpx.TransportError:
        return False


BAD: dict[str, dict[str, str]] = {  # the series that make each alert fire
    "ModelServerDown": {'up{job="model-server"}': "0x60"},
    "ModelServerWithoutVersion": {'model_server_version_info{version=""}': "0x60"},
    "ModelServerFails": {
        'model_server_requests_total{status="200"}': "0+98x60",
        'model_server_requests_total{status="500"}': "0+2x60",
    },
    "ModelServerRefusesMuch": {
        'model_server_requests_total{status="200"}': "0+70x60",
        'model_server_requests_total{status="400"}': "0+30x60",
    },
    "ModelServerSlow": {
        'model_server_request_seconds_bucket{le="0.25"}': "0+98x60",
        'model_server_request_seconds_bucket{le="1"}': "0+100x60",
        'model_server_request_seconds_bucket{le="+Inf"}': "0+100x60",
    },
    "ModelServerLosesRequests": {"model_server_log_dropped_rows_total": "0+1x60"},
    "ShadowFails": {"model_server_shadow_failures_total": "0+1x60"},
}
GOOD = {
    'up{job="model-server"}': "1x60",
    'model_server_version_info{version="3"}': "1x60",
    'model_server_requests_total{status="200"}': "0+999x60",
    'model_server_requests_total{status="400"}': "0+100x60",
    'model_server_requests_total{status="500"}': "0+1x60",
    'model_server_request_seconds_bucket{le="0.25"}': "0+1000x60",
    'model_server_request_seconds_bucket{le="+Inf"}': "0+1000x60",
    "model_server_log_dropped_rows_total": "5x60",
    "model_server_shadow_failures_total": "5x60",
}


@needs_prometheus
def test_each_alert_fires_for_its_fault_alone(tmp_path: Path) -> None:
    check_alerts(GRAFANA / "alerts.yml", GOOD, BAD, tmp_path, minutes=50)
