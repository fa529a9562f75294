"""The metrics of a stack, and the alerts on them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.services import champions
from local.metrics import Pipeline
from local.settings import PROJECT
from local.stack import Stack
from tests.promtool import check_alerts, needs_prometheus

from .conftest import s3

GRAFANA = PROJECT / "containers" / "grafana"
RULES = yaml.safe_load((GRAFANA / "pipeline.yml").read_text())["groups"][0]["rules"]
NOW = 3000 * 60  # seconds after the beginning at which alerts are looked at
ASSET = "pipeline_asset_updated_seconds"
BAD: dict[str, dict[str, str]] = {  # the series that make each alert fire
    "PipelineNotMeasured": {'up{job="pipeline"}': "0x3000"},
    "StackBroken": {'pipeline_findings{subject="disk", severity="error"}': "1x3000"},
    "AirflowUnhealthy": {'airflow_healthy{part="scheduler"}': "0x3000"},
    "FilesWait": {"pipeline_files_waiting_seconds": "4000x3000"},
    "FilesRejected": {"pipeline_files_rejected": "11x3000"},
    "RunsFail": {'airflow_runs{state="failed"}': "4x3000"},
    "VersionsWait": {"pipeline_versions_waiting": "1x3000"},
    "RetrainingNotDone": {
        f'{ASSET}{{asset="retraining"}}': f"{NOW - 30000}x3000",
        f'{ASSET}{{asset="model_trained"}}': f"{NOW - 40000}x3000",
    },
    "NotMonitored": {f'{ASSET}{{asset="possum_monitoring"}}': "0x3000"},
}
GOOD = {
    'up{job="pipeline"}': "1x3000",
    "pipeline_measured_seconds": "0+60x3000",
    'pipeline_findings{subject="disk", severity="warning"}': "1x3000",
    'airflow_healthy{part="scheduler"}': "1x3000",
    "pipeline_files_waiting_seconds": "60x3000",
    "pipeline_files_rejected": "1x3000",
    'airflow_runs{state="failed"}': "1x3000",
    "pipeline_versions_waiting": "1x2000 0x1000",
    f'{ASSET}{{asset="retraining"}}': f"{NOW - 40000}x3000",
    f'{ASSET}{{asset="model_trained"}}': f"{NOW - 30000}x3000",
    f'{ASSET}{{asset="possum_monitoring"}}': f"{NOW - 86400}x3000",
}


@pytest.fixture(scope="module")
def stack(running: Stack) -> Stack:
    """A stack with a rejected file, one that waits, and a version without a verdict."""
    for key in ("processing/new.csv", "rejected/bad.csv", "rejected/bad.csv.reason.txt"):
        s3(running).put_object(Bucket="data", Key=key, Body=b"x")
    hook = MLflowClientHook()
    hook.create_registered_model(champions.MODEL)
    run_id = hook.create_run(hook.create_experiment("metrics"))["info"]["run_id"]
    tags = {champions.FEATURES_URI: "s3://data/f.parquet", champions.DAG_RUN_ID: "manual"}
    hook.create_model_version(champions.MODEL, "s3://data/model", run_id, tags)
    return running


def read(stack: Stack) -> dict[str, float]:
    """Return the value of each sample by its name, the last one of several."""
    registry = CollectorRegistry()
    registry.register(pipeline := Pipeline(stack))
    pipeline.measure()
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


def test_files_and_versions_are_measured_although_airflow_is_down(stack: Stack) -> None:
    found = read(stack)

    assert found["pipeline_measured_seconds"] > 0
    assert (found["pipeline_files_waiting"], found["pipeline_files_rejected"]) == (1, 1)
    assert 0 <= found["pipeline_files_waiting_seconds"] < 600
    assert found["pipeline_versions_waiting"] == 1
    assert not [name for name in found if name.startswith(("airflow_", "pipeline_champion"))]


def test_what_the_doctor_finds_is_published(stack: Stack) -> None:
    secrets = stack.settings.home / "secrets.env"
    registry = CollectorRegistry()
    registry.register(pipeline := Pipeline(stack))
    labels = {"subject": "secrets", "severity": "error"}
    for mode, expected in ((0o644, 1), (0o600, None)):
        secrets.chmod(mode)
        pipeline.measure()
        assert registry.get_sample_value("pipeline_findings", labels) == expected


@needs_prometheus
def test_each_alert_fires_for_its_fault_alone(tmp_path: Path) -> None:
    check_alerts(GRAFANA / "pipeline.yml", GOOD, BAD, tmp_path, minutes=3000, always="Watchdog")


@pytest.mark.skipif(not shutil.which("amtool"), reason="not installed: apt-get install prometheus-alertmanager")
def test_the_example_for_alertmanager_is_valid_and_routes_the_dead_mans_switch() -> None:
    route = ["amtool", "config", "routes", "test", f"--config.file={GRAFANA / 'alertmanager.yml'}"]
    labels = ("alertname=Watchdog severity=none", "alertname=StackBroken severity=page", "severity=ticket")
    receivers = [subprocess.check_output([*route, *one.split()], text=True).strip() for one in labels]

    assert receivers == ["watchdog", "pages", "tickets"]


def test_every_alert_has_a_line_in_the_guide() -> None:
    guide = (PROJECT / "docs" / "operations.md").read_text()

    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in guide] == []
