"""What monitoring has measured: findings in sentences, metrics for MLflow, and the cool-down between retrainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from include.evaluation.scores import format_value, metric_name

METRICS = {"statistic": "statistic", "p": "p_value", "psi": "psi", "psi_by_chance": "psi_by_chance"}


@dataclass(frozen=True)
class MonitoringResult:
    """All measurements of the champion; what could not be measured is empty, because there were too few rows.

    :param training: the rows that the champion was trained on
    :param recent: the rows that it predicted recently
    :param drift: as :func:`include.monitoring.drift.measure_drift` returns it
    :param errors: columns ``error`` (predicted minus true) and ``sample`` ("holdout" or "recent")
    :param degradation: as :func:`include.monitoring.drift.measure_degradation` returns it
    """

    training: pd.DataFrame
    recent: pd.DataFrame
    drift: pd.DataFrame
    errors: pd.DataFrame
    degradation: Mapping[str, float]

    def findings(self, unit: str) -> list[str]:
        """Return what is wrong, one sentence each; empty if all is well.

        :param unit: of the errors
        """
        drifted = self.drift[self.drift["drifted"]] if len(self.drift) else self.drift
        findings = [
            f"{name} has drifted: PSI {row['psi']:.2f} ({row['psi_by_chance']:.2f} by chance), p = {row['p_value']:.1g}"
            for name, row in drifted.iterrows()
        ]
        if self.degradation.get("degraded"):
            rmse = format_value(self.degradation["rmse_recent"], unit)
            times = "{ratio:.2f} times that of the holdout ({ratio_low:.2f} to {ratio_high:.2f})"
            findings.append(f"the prediction error has grown: RMSE {rmse}, {times.format(**self.degradation)}")
        return findings

    def metrics(self) -> dict[str, float]:
        """Return all numbers as MLflow metrics, such as ``psi_age``, ``p_age`` (adjusted) and ``ratio``."""
        names = {name: metric_name(str(name)) for name in self.drift.index}
        metrics = {
            f"{prefix}_{names[name]}": float(row[column])
            for name, row in self.drift.iterrows()
            for prefix, column in METRICS.items()
        }
        counts = {"recent_rows": len(self.recent), "findings": len(self.findings(""))}
        return {**metrics, **counts, **self.degradation}


def cool_down_until(last: datetime | None, days: float) -> str:
    """Return until when no other retraining is requested (UTC), or an empty text if one may be.

    :param last: when the last retraining was requested
    """
    until = last + timedelta(days=days) if last else datetime.min.replace(tzinfo=UTC)
    return f"{until:%Y-%m-%d %H:%M}" if until > datetime.now(UTC) else ""
