"""The tasks of ``monitor``: compare what the champion predicts now with what it was trained on, and act on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import alerts, champions, storage
from include.services.assets import LABELLED, MONITORING, PREDICTIONS, RETRAINING, object_uri
from include.services.lineage import note_read

if TYPE_CHECKING:
    import pandas as pd

    from include.monitoring.result import MonitoringResult

log = logging.getLogger(__name__)


def find_champion() -> dict[str, str]:
    """Return ``version``, ``run_id`` and ``features_uri`` of the champion.

    :raises AirflowSkipException: there is none, or the table that it was trained on is not known
    """
    version = champions.find_champion()
    if version is None:
        raise AirflowSkipException(f"{champions.MODEL} has no champion yet: nothing to monitor")
    features_uri = champions.read_tags(version).get("features_uri")
    if not features_uri:
        raise AirflowSkipException(
            f"champion {champions.MODEL} version {version['version']} lacks the tag features_uri, which train sets: "
            "there is no table to compare with"
        )
    return {"version": version["version"], "run_id": version["run_id"], "features_uri": features_uri}


def measure_drift(champion: Mapping[str, str], params: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Compare the rows that were predicted recently with those that the champion was trained on.

    :return: URIs of the tables ``recent`` and ``drift``
    :raises AirflowSkipException: there are too few new rows
    """
    from include.data.split import select_training
    from include.monitoring import drift

    features = _read_features(champion["features_uri"])
    recent = read_recent_inputs(features, params["days"])
    _check_enough(recent, params["min_samples"])
    training = select_training(features, PROBLEM)
    drifted = drift.measure_drift(training, recent, PROBLEM, alpha=params["alpha"], min_psi=params["min_psi"])
    return {
        "recent": storage.write_table(recent, object_uri(MONITORING, run_id, "recent.parquet")),
        "drift": storage.write_table(drifted, object_uri(MONITORING, run_id, "drift.parquet"), index=True),
    }


def measure_degradation(champion: Mapping[str, str], params: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Compare the champion's errors on rows that were labelled recently with those on the holdout rows.

    :return: ``errors``, the URI of a table (:func:`predict_errors`), and ``degradation``, the comparison
    :raises AirflowSkipException: there are too few new rows
    """
    from include.monitoring import drift
    from include.services import tracking

    features = _read_features(champion["features_uri"])
    labelled = read_recent_labelled(features, params["days"])
    _check_enough(labelled, params["min_samples"])
    errors = predict_errors(tracking.load_version(champion["version"]), features, labelled)
    samples = (errors.loc[errors["sample"] == sample, "error"] for sample in ("holdout", "recent"))
    degradation = drift.measure_degradation(
        *samples, confidence=params["degradation_confidence"], margin=params["degradation_margin"]
    )
    uri = storage.write_table(errors, object_uri(MONITORING, run_id, "errors.parquet"))
    return {"errors": uri, "degradation": degradation}


def publish_report(
    champion: Mapping[str, str],
    drifted: Mapping[str, str] | None,
    degraded: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    run_id: str,
    inlet_events: Mapping[Any, Sequence[Any]],
    outlet_events: Mapping[Any, Any],
) -> dict[str, Any]:
    """Log all numbers and a figure to MLflow, and write the figure to S3.

    :param drifted: as :func:`measure_drift` returns it; None if it was skipped
    :param degraded: as :func:`measure_degradation` returns it; None if it was skipped
    :return: ``version``, ``findings`` (sentences), ``picture`` (URI), ``cool_down_until`` (UTC, or empty), and
        ``run_id`` and ``url`` of the MLflow run
    :raises AirflowSkipException: nothing was measured
    """
    from include.charts.monitoring import plot_monitoring
    from include.charts.style import render
    from include.monitoring.result import cool_down_until

    if not (drifted or degraded):
        raise AirflowSkipException("neither drift nor degradation was measured: nothing to report")
    result = _gather(champion["features_uri"], drifted, degraded)
    version, requests = champion["version"], inlet_events[RETRAINING]
    title = f"{champions.MODEL} version {version}: {len(result.training)} training rows, {len(result.recent)} recent"
    tables = (result.training, result.recent, result.drift, result.errors, result.degradation)
    picture = render(plot_monitoring(*tables, title=title, min_psi=params["min_psi"], problem=PROBLEM))
    report = {
        "version": version,
        "findings": result.findings(PROBLEM.unit),
        "picture": storage.write_bytes(picture, object_uri(MONITORING, run_id, "monitoring.png")),
        "cool_down_until": cool_down_until(requests[-1].timestamp if len(requests) else None, params["cool_down_days"]),
        **_log_monitoring(champion, result, params, picture),
    }
    outlet_events[MONITORING].extra = report
    return report


def decide(report: Mapping[str, Any]) -> list[str]:
    """Return the tasks to continue with: none of the actions without findings, no retraining in the cool-down."""
    if not report["findings"]:
        return ["no_findings"]
    return ["alert_team"] if report["cool_down_until"] else ["alert_team", "request_retraining"]


def alert_team(report: Mapping[str, Any], run_id: str) -> None:
    """Send an alert with the findings."""
    until = report["cool_down_until"]
    facts = {
        "DAG": "monitor",
        "run": run_id,
        "findings": "; ".join(report["findings"]),
        "retraining": f"requested before, not again before {until} UTC" if until else "requested now",
        "MLflow": report["url"],
    }
    subject = f"{champions.MODEL} version {report['version']} needs attention"
    alerts.send(alerts.Alert(subject, facts, alerts.run_url("monitor", run_id)))


def request_retraining(report: Mapping[str, Any], outlet_events: Mapping[Any, Any]) -> None:
    """Announce that the champion needs retraining, which triggers ``feature_eng``."""
    outlet_events[RETRAINING].extra = {"version": report["version"], "findings": report["findings"]}


def read_recent_inputs(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the inputs that were predicted in the last `days`, each row once and none that is in `known`.

    Rows of the champion's table are excluded by their id, because they cannot show drift. Not by their inputs: where
    inputs have few different values, only rare rows would remain, which would look like drift. Without an id, the rows
    that ``predict`` reads from the table are left out, and those of ``incoming/`` all count.

    :param known: the champion's feature table
    """
    incoming = f"{PREDICTIONS.uri.rstrip('/')}/incoming/"
    uris = [
        uri
        for uri in storage.list_objects(PREDICTIONS.uri, since=_ago(days))
        if (uri.startswith(incoming) and uri.endswith(".csv")) or (PROBLEM.row_id and uri.endswith("/rows.parquet"))
    ]
    tables = [table for table in map(_read_inputs, uris) if table is not None]
    return _select_new(tables, known) if PROBLEM.row_id else _concat(tables, known)


def read_recent_labelled(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the rows whose target was measured in the last `days`, checked and repaired as for training.

    :param known: the champion's feature table
    """
    from include.data.labelled import read_labelled

    uris = storage.list_tables(LABELLED.uri, since=_ago(days))
    tables = [read_labelled(storage.read_bytes(uri), uri, PROBLEM) for uri in uris]
    labelled = known[known[PROBLEM.target.name].notna()]
    return _select_new([table for table in tables if table is not None], labelled)


def predict_errors(model: Any, features: pd.DataFrame, labelled: pd.DataFrame) -> pd.DataFrame:
    """Let a model predict its holdout rows and the labelled ones.

    :return: columns ``error`` (predicted minus true) and ``sample`` ("holdout" or "recent")
    """
    import numpy as np
    import pandas as pd

    from include.data.split import select_holdout

    holdout = select_holdout(features, PROBLEM)
    rows = pd.concat([holdout, labelled], ignore_index=True)
    predicted = model.predict(rows[PROBLEM.inputs])
    values = predicted["prediction"] if isinstance(predicted, pd.DataFrame) else predicted
    samples = ["holdout"] * len(holdout) + ["recent"] * len(labelled)
    return pd.DataFrame({"error": np.asarray(values) - rows[PROBLEM.target.name], "sample": samples})


def _check_enough(rows: pd.DataFrame, minimum: float) -> None:
    if len(rows) < minimum:
        raise AirflowSkipException(f"{len(rows)} new rows are too few to compare, {minimum:g} is the minimum")


def _read_features(uri: str) -> pd.DataFrame:
    """Return the table that the champion was trained on.

    :raises AirflowSkipException: it is gone, or lacks a column that the problem has now
    """
    from include.spec import SPLIT

    if not storage.exists(uri):
        raise AirflowSkipException(f"the champion's table {uri} is gone: there is no table to compare with")
    features = storage.read_table(uri)
    if lacking := {PROBLEM.id, SPLIT, *PROBLEM.inputs, PROBLEM.target.name}.difference(features):
        raise AirflowSkipException(
            f"the champion's table {uri} lacks {', '.join(sorted(lacking))}: comparisons resume with the next champion"
        )
    return features


def _ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _read_inputs(uri: str) -> pd.DataFrame | None:
    """Return the inputs of predicted rows in their types, or None if they are those of another problem."""
    from include.data.checks import check_inputs
    from include.data.reading import TableError, parse_rows

    try:
        rows = parse_rows(storage.read_bytes(uri), uri)  # pandas alone would read the category 007 as the number 7
        inputs = check_inputs(rows, PROBLEM, uri)
    except TableError as error:
        log.warning("Left out: %s", error)
        return None
    note_read(uri, inputs)
    return inputs


def _select_new(tables: Sequence[pd.DataFrame], known: pd.DataFrame) -> pd.DataFrame:
    from include.data.identity import remove_known

    rows = _concat(tables, known)
    new = remove_known(rows, known, PROBLEM).reset_index(drop=True)
    log.info("%d objects have %d rows, %d of them new", len(tables), len(rows), len(new))
    return new


def _concat(tables: Sequence[pd.DataFrame], known: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(tables, ignore_index=True) if tables else known.head(0)


def _gather(
    features_uri: str, drifted: Mapping[str, str] | None, degraded: Mapping[str, Any] | None
) -> MonitoringResult:
    import pandas as pd

    from include.data.split import select_training
    from include.monitoring.result import MonitoringResult

    training = select_training(storage.read_table(features_uri), PROBLEM)
    recent, drift = (storage.read_table(drifted[name]) if drifted else pd.DataFrame() for name in ("recent", "drift"))
    errors = storage.read_table(degraded["errors"]) if degraded else pd.DataFrame()
    return MonitoringResult(training, recent, drift, errors, degraded["degradation"] if degraded else {})


def _log_monitoring(
    champion: Mapping[str, str], result: MonitoringResult, params: Mapping[str, Any], picture: bytes
) -> dict[str, str]:
    """Log run ``Monitoring``, which the version's tag ``monitoring_run_id`` leads to."""
    from include.services import tracking

    version = champion["version"]
    hook = champions.connect()
    experiment_id = hook.get_run(champion["run_id"])["info"]["experiment_id"]
    tags = {"model_name": champions.MODEL, "model_version": version}
    with tracking.start_run("Monitoring", experiment_id, tags) as run:
        tracking.mlflow.log_params(dict(params))
        tracking.mlflow.log_metrics(result.metrics())
        files = {"monitoring.png": picture, "drift.csv": result.drift.to_csv().encode()}
        tracking.log_files(files, run.info.run_id)
    hook.set_model_version_tag(champions.MODEL, version, "monitoring_run_id", run.info.run_id)
    return {"run_id": run.info.run_id, "url": hook.server.page("experiments", experiment_id, "runs", run.info.run_id)}
