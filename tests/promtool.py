"""Alerts of Prometheus, tried on series by its own tool."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

Series = dict[str, str]

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Prometheus is not installed: apt-get install --no-install-recommends prometheus",
)


def check_alerts(
    rules: Path, good: Series, bad: dict[str, Series], folder: Path, *, minutes: int, always: str = ""
) -> None:
    """Check that each alert fires on its series of `bad` alone after so many minutes, and only `always` on `good`."""
    names = [rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]]
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertstate="firing", alertname="{name}"}}) or vector(0)',
                    "eval_time": f"{minutes}m",
                    "exp_samples": [{"labels": "{}", "value": int(name in (firing, always))}],
                }
                for name in names
            ],
        }
        for firing, series in {"": good, **bad}.items()
    ]
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": tests}))
    checked = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True)

    assert {*names} == {*bad, *filter(None, [always])}
    assert checked.returncode == 0, checked.stdout + checked.stderr
