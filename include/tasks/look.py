"""What one look at the champion has found: findings in words, numbers for MLflow, a picture and an alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from include import config
from include.charts import monitoring as report
from include.charts.style import render
from include.data.table import select_training
from include.platform import storage
from include.platform.alerts import Alert, run_url

_NOTHING = pd.DataFrame()


@dataclass(frozen=True)
class Look:
    """Everything a look at the champion has found; a table is empty, and `decay` too, if animals were too few."""

    training: pd.DataFrame
    recent: pd.DataFrame
    drift: pd.DataFrame
    errors: pd.DataFrame
    decay: Mapping[str, float]

    @classmethod
    def gather(cls, features_uri: str, drifted: Mapping[str, Any] | None, decayed: Mapping[str, Any] | None) -> Look:
        """Read what the tasks have left.

        :param drifted: ``recent`` and ``drift``, where the tables are
        :param decayed: ``errors``, where the table is, and ``decay``
        """
        training = select_training(storage.read_table(features_uri))
        recent, table = (storage.read_table(drifted[name]) if drifted else _NOTHING for name in ("recent", "drift"))
        errors = storage.read_table(decayed["errors"]) if decayed else _NOTHING
        return cls(training, recent, table, errors, decayed["decay"] if decayed else {})

    def findings(self) -> list[str]:
        """Return what is wrong, a sentence each; nothing if all is well."""
        moved = self.drift[self.drift["drifted"]] if len(self.drift) else self.drift
        findings = [
            f"{name} has drifted: PSI {row['psi']:.2f} ({row['psi_by_chance']:.2f} by chance), p {row['p_value']:.1g}"
            for name, row in moved.iterrows()
        ]
        if self.decay.get("decayed"):
            times = "{ratio:.2f} times the holdout error ({ratio_low:.2f} to {ratio_high:.2f})".format(**self.decay)
            findings.append(f"the error has grown: RMSE {self.decay['rmse_recent']:.2f} cm, {times}")
        return findings

    def metrics(self) -> dict[str, float]:
        """Return all numbers as MLflow metrics, such as ``psi_age``, ``p_age`` (adjusted) and ``ratio``."""
        columns = {"statistic": "statistic", "p": "p_value", "psi": "psi", "psi_by_chance": "psi_by_chance"}
        metrics = {f"{short}_{name}": row[c] for name, row in self.drift.iterrows() for short, c in columns.items()}
        return {**metrics, "recent_animals": len(self.recent), "findings": len(self.findings()), **self.decay}

    def draw(self, version: str, least_psi: float) -> bytes:
        """Return the picture, a PNG file."""
        title = f"version {version} of {config.REGISTERED_MODEL}  \u00b7  {len(self.training)} training animals"
        title += f", {len(self.recent)} recent ones" if len(self.recent) else ""
        tables = (self.training, self.recent, self.drift, self.errors, self.decay)
        return render(report.plot_monitoring(*tables, title=title, least_psi=least_psi))


def cool_down_until(events: Sequence[Any], days: float) -> str:
    """Return until when no other retraining is asked for (UTC), or nothing if one may be.

    :param events: of the asset ``retraining``; the last one counts, whoever sent it
    """
    until = events[-1].timestamp + timedelta(days=days) if len(events) else datetime.min.replace(tzinfo=UTC)
    return f"{until:%Y-%m-%d %H:%M}" if until > datetime.now(UTC) else ""


def describe(report: Mapping[str, Any], run_id: str) -> Alert:
    """Return the alert that tells of a report's findings and of what was done about them."""
    waits = report["cool_down_until"]
    facts = {
        "DAG": "monitor",
        "run": run_id,
        "found": "; ".join(report["findings"]),
        "retraining": f"asked for already, not again before {waits} UTC" if waits else "asked for now",
        "numbers and picture": report["url"],
    }
    return Alert(
        f"{config.REGISTERED_MODEL} version {report['version']} no longer fits", facts, run_url("monitor", run_id)
    )
