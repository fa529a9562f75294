"""A look at the champion: what it met lately, how it did, what that means. Numbers come from ``drift``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from airflow.sdk.exceptions import AirflowSkipException

from include import champions, config, storage
from include.alerts import Alert, run_url
from include.assets import LABELLED, PREDICTIONS
from include.data.possums import remove_known, select_training
from include.monitoring import report
from include.plot_style import render

if TYPE_CHECKING:
    from include.mlflow_provider.hooks.client import MLflowClientHook

INCOMING = f"{PREDICTIONS.uri.rstrip('/')}/incoming/"
_NOTHING = pd.DataFrame()
log = logging.getLogger(__name__)


def find_champion(hook: MLflowClientHook) -> dict[str, str] | None:
    """Return ``version``, ``run_id`` and ``features_uri`` of the champion, or None if there is none."""
    version = champions.find_champion(hook)
    if version is None:
        return None
    features_uri = champions.read_tags(version)["features_uri"]
    return {"version": version["version"], "run_id": version["run_id"], "features_uri": features_uri}


def read_recent_inputs(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the raw rows that were predicted in the last days, each animal once and none that is known.

    A model's own animals, predicted again, say nothing of what it meets now, and an animal predicted twice says no
    more than once.

    :param known: the champion's feature table
    """
    uris = [uri for uri in _recent(PREDICTIONS.uri, days) if _holds_inputs(uri)]
    return _read_news(uris, config.RAW, known)


def read_labelled(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the animals whose tail was measured in the last days: raw columns and ``taill`` (cm)."""
    uris = [uri for uri in _recent(LABELLED.uri, days) if uri.endswith(".csv")]
    return _read_news(uris, [*config.RAW, config.TARGET], known).dropna(subset=config.TARGET)


def _recent(folder: str, days: float) -> list[str]:
    return storage.list_objects(folder, since=datetime.now(UTC) - timedelta(days=days))


def _holds_inputs(uri: str) -> bool:
    return uri.endswith("/possums.parquet") or (uri.startswith(INCOMING) and uri.endswith(".csv"))


def _read_news(uris: Sequence[str], columns: list[str], known: pd.DataFrame) -> pd.DataFrame:
    tables = [_read(uri, columns) for uri in uris] or [pd.DataFrame(columns=columns)]
    rows = pd.concat(tables, ignore_index=True)
    news = remove_known(rows, known)
    log.info("%d objects hold %d rows; %d animals in them are new", len(uris), len(rows), len(news))
    return news.reset_index(drop=True)


def _read(uri: str, columns: list[str]) -> pd.DataFrame:
    table = storage.read_table(uri)
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{uri} has no column {', '.join(missing)}: correct it, or take it away")
    return table[columns]


def measure_errors(model: Any, features: pd.DataFrame, labelled: pd.DataFrame) -> pd.DataFrame:
    """Let a model predict its holdout animals and the labelled ones.

    :return: columns ``error`` (predicted minus true length, cm) and ``animals`` ("holdout" or "recent")
    """
    holdout = features[(features[config.SPLIT] == "holdout") & features[config.TARGET].notna()]
    rows = pd.concat([holdout.assign(animals="holdout"), labelled.assign(animals="recent")], ignore_index=True)
    predicted = model.predict(rows[config.RAW])
    lengths = predicted["prediction"] if isinstance(predicted, pd.DataFrame) else predicted
    return pd.DataFrame({"error": np.asarray(lengths) - rows[config.TARGET], "animals": rows["animals"]})


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


def check_enough(animals: pd.DataFrame, least: float) -> None:
    """Skip the task that asks, if there are too few animals to compare."""
    if len(animals) < least:
        raise AirflowSkipException(f"{len(animals)} new animals are too few to compare: the least is {least:g}")


def check_anything(*measured: object) -> None:
    """Skip the task that asks, if nothing was measured."""
    if not any(measured):
        raise AirflowSkipException("neither drift nor decay was measured: there is nothing to report")


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
