"""The tasks of ``monitor``: compare what the champion predicts now with what it was trained on, and act on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import alerts, champions, samples, storage
from include.services.assets import MONITORING, RETRAINING, object_uri
from include.tasks.recent import (
    MAX_ROWS,
    count_new_rows,
    count_rejected,
    read_known,
    read_recent_inputs,
    read_recent_labelled,
)

if TYPE_CHECKING:
    import pandas as pd

    from include.monitoring.result import MonitoringResult

log = logging.getLogger(__name__)


def find_champion() -> dict[str, str]:
    """Return ``version``, ``run_id``, ``features_uri`` and ``model_uri`` of the champion.

    :raises AirflowSkipException: there is none, or the table that it was trained on is not known
    """
    version = champions.find_champion()
    if version is None:
        raise AirflowSkipException(f"{champions.MODEL} has no champion yet: nothing to monitor")
    if champions.FEATURES_URI not in champions.read_tags(version):
        raise AirflowSkipException(
            f"champion {champions.MODEL} version {version['version']} lacks the tag features_uri, which train sets: "
            "there is no table to compare with"
        )
    return champions.describe(version) | {"model_uri": champions.model_uri(version["version"])}


def select_recent(champion: Mapping[str, str], params: Mapping[str, Any], run_id: str) -> str:
    """Write the rows that were predicted recently, and return the URI.

    :raises AirflowSkipException: there are no new ones
    """
    recent = read_recent_inputs(read_known(champion["features_uri"]), params["days"])
    _check_enough(recent, 1)
    return storage.write_table(recent, _uri(run_id, "recent.parquet"))


def measure_drift(champion: Mapping[str, str], recent_uri: str, params: Mapping[str, Any], run_id: str) -> str:
    """Compare the rows that were predicted recently with those that the champion was trained on.

    :return: URI of a table, as :func:`include.monitoring.drift.measure_drift` returns it
    :raises AirflowSkipException: there are too few new rows
    """
    from include.monitoring import drift

    recent = storage.read_table(recent_uri)
    _check_enough(recent, params["min_samples"])
    training = _read_training(champion["features_uri"])
    drifted = drift.measure_drift(training, recent, PROBLEM, alpha=params["alpha"], min_psi=params["min_psi"])
    return storage.write_table(drifted, _uri(run_id, "drift.parquet"), index=True)


def select_labelled(champion: Mapping[str, str], params: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Write the rows that were labelled recently, and the errors to compare theirs with.

    :return: URIs of the inputs ``rows``, of their ``target``, and of the ``baseline``: column ``error``
    :raises AirflowSkipException: there are too few new rows, or the champion's run lacks these errors
    """
    import pandas as pd

    from include.services import tracking

    known = read_known(champion["features_uri"], lambda rows: rows[rows[PROBLEM.target.name].notna()])
    labelled = read_recent_labelled(known, params["days"])
    _check_enough(labelled, params["min_samples"])
    errors = tracking.read_artifact(champion["run_id"], tracking.OUT_OF_FOLD_ERRORS)
    if errors is None:
        raise AirflowSkipException(
            f"the run of version {champion['version']} lacks {tracking.OUT_OF_FOLD_ERRORS}, which train writes: "
            "its errors are compared from the next champion on"
        )
    return {
        "rows": storage.write_table(labelled[PROBLEM.inputs], _uri(run_id, "labelled.parquet")),
        "target": storage.write_table(labelled[[PROBLEM.target.name]], _uri(run_id, "target.parquet")),
        "baseline": storage.write_table(pd.read_csv(BytesIO(errors)), _uri(run_id, "baseline.parquet")),
    }


def measure_degradation(
    selected: Mapping[str, str], predicted_uri: str, params: Mapping[str, Any], run_id: str
) -> dict[str, Any]:
    """Compare the champion's errors on rows that were labelled recently with those on its training rows.

    :param selected: as :func:`select_labelled` returns it
    :param predicted_uri: predictions of its ``rows``
    :return: ``errors``, the URI of a table, and ``degradation``, the comparison
    """
    import pandas as pd

    from include.monitoring import degradation

    target = storage.read_table(selected["target"])[PROBLEM.target.name]
    recent = (storage.read_table(predicted_uri)["prediction"] - target).abs()
    samples = {"baseline": storage.read_table(selected["baseline"])["error"], "recent": recent}
    compared = degradation.measure_degradation(
        **samples, confidence=params["degradation_confidence"], margin=params["degradation_margin"]
    )
    errors = pd.concat([pd.DataFrame({"error": errors, "sample": sample}) for sample, errors in samples.items()])
    return {"errors": storage.write_table(errors, _uri(run_id, "errors.parquet")), "degradation": compared}


def publish_report(
    champion: Mapping[str, str],
    recent_uri: str | None,
    drift_uri: str | None,
    degraded: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    run_id: str,
    inlet_events: Mapping[Any, Sequence[Any]],
    outlet_events: Mapping[Any, Any],
) -> dict[str, Any]:
    """Log all numbers, the report and a figure to MLflow, and write the figure to S3.

    Each argument is what the task of its name returns, None if it was skipped.

    :return: ``version``, ``findings`` and ``notes`` (sentences), ``picture`` (URI), ``no_retraining`` (why not, or
        empty), and ``run_id`` and ``url`` of the MLflow run
    :raises AirflowSkipException: nothing was measured, and there is nothing to note about recent rows
    """
    from include.charts.monitoring import plot_monitoring
    from include.charts.style import render

    nothing = AirflowSkipException("neither drift nor degradation was measured: nothing to report")
    if not (recent_uri or degraded):
        raise nothing  # before the champion's table is read, which may be gone
    result = _gather(champion["features_uri"], recent_uri, drift_uri, degraded, params["days"])
    findings, notes, version = result.findings(), result.notes(), champion["version"]
    if not (drift_uri or degraded or notes):
        raise nothing
    for sentence in (*findings, *notes):
        log.log(logging.WARNING if sentence in findings else logging.INFO, "%s", sentence)
    title = f"{champions.MODEL} version {version}: {len(result.training)} training rows, {len(result.recent)} recent"
    picture = render(plot_monitoring(result, title=title, min_psi=params["min_psi"]))
    report = {
        "version": version,
        "findings": findings,
        "notes": notes,
        "picture": storage.write_bytes(picture, _uri(run_id, "monitoring.png")),
        "no_retraining": _why_not_retrain(inlet_events[RETRAINING], params["cool_down_days"]) if findings else "",
        **_log_monitoring(champion, result, params, picture),
    }
    outlet_events[MONITORING].extra = report
    return report


def decide(report: Mapping[str, Any]) -> list[str]:
    """Return the tasks to continue with: none of the actions without findings, no retraining if there is a reason."""
    if not report["findings"]:
        return ["no_findings"]
    return ["alert_team"] if report["no_retraining"] else ["alert_team", "request_retraining"]


def alert_team(report: Mapping[str, Any], run_id: str) -> None:
    """Send an alert with findings and notes, and with what follows."""
    facts = {
        "DAG": "monitor",
        "run": run_id,
        "findings": "; ".join(report["findings"]),
        "notes": "; ".join(report["notes"]) or "none",
        "retraining": report["no_retraining"] or "requested now",
        "MLflow": report["url"],
    }
    subject = f"{champions.MODEL} version {report['version']} needs attention"
    alerts.send(alerts.Alert(subject, facts, alerts.run_url("monitor", run_id)))


def request_retraining(report: Mapping[str, Any], outlet_events: Mapping[Any, Any]) -> None:
    """Announce that the champion needs retraining, which triggers ``feature_eng``."""
    outlet_events[RETRAINING].extra = {"version": report["version"], "findings": report["findings"]}


def _check_enough(rows: pd.DataFrame, minimum: float) -> None:
    if len(rows) < minimum:
        raise AirflowSkipException(f"{len(rows)} new rows are too few to compare, {minimum:g} is the minimum")


def _read_training(features_uri: str) -> pd.DataFrame:
    """Return the rows that the champion was trained on, or a sample of them."""
    return samples.read_sample(features_uri, PROBLEM, training=MAX_ROWS, columns=PROBLEM.columns)


def _uri(run_id: str, name: str) -> str:
    return object_uri(MONITORING, run_id, name)


def _gather(
    features_uri: str, recent_uri: str | None, drift_uri: str | None, degraded: Mapping[str, Any] | None, days: float
) -> MonitoringResult:
    import pandas as pd

    from include.monitoring.result import MonitoringResult

    return MonitoringResult(
        problem=PROBLEM,
        training=_read_training(features_uri),
        recent=storage.read_table(recent_uri) if recent_uri else pd.DataFrame(),
        drift=storage.read_table(drift_uri) if drift_uri else pd.DataFrame(),
        errors=storage.read_table(degraded["errors"]) if degraded else pd.DataFrame(),
        degradation=degraded["degradation"] if degraded else {},
        rejected=count_rejected(days),
    )


def _why_not_retrain(requests: Sequence[Any], days: float) -> str:
    """Return why no retraining is requested, or an empty text if one is.

    :param requests: events of earlier requests, the last one at the end
    :param days: of the cool-down
    """
    from include.data.reading import TableError

    if len(requests) and (until := requests[-1].timestamp + timedelta(days=days)) > datetime.now(UTC):
        return f"requested before, not again before {until:%Y-%m-%d %H:%M} UTC"
    newest = champions.trained()[-1]
    try:
        if count_new_rows(newest):
            return ""
    except (TableError, FileNotFoundError) as error:
        return f"not requested: {error}"
    learned = f"version {newest['version']} has learned from all rows that there are"
    return f"not requested: {learned}, so add new ones with a target"


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
        files["report.md"] = result.report().encode()
        tracking.log_files(files, run.info.run_id)
    hook.set_model_version_tag(champions.MODEL, version, "monitoring_run_id", run.info.run_id)
    return {"run_id": run.info.run_id, "url": hook.server.page("experiments", experiment_id, "runs", run.info.run_id)}
