"""The tasks of ``feature_eng``: from the problem's table to the feature table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.problem import PROBLEM
from include.services import champions, storage
from include.services.assets import FEATURES, LABELLED, object_uri
from include.services.failures import fail_without_retry
from include.services.lineage import note_checks, note_read
from include.settings import INCLUDE, MAX_FILE
from include.tasks import served

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)


def list_existing_experiments() -> list[str]:
    """Return the names of MLflow's experiments."""
    return [experiment["name"] for experiment in champions.connect().search_experiments()]


def check_if_experiment_exists(names: Sequence[str]) -> str:
    """Return the task to continue with: create the experiment only if it is missing."""
    exists = PROBLEM.experiment in names
    return f"prepare_mlflow_experiment.{'experiment_exists' if exists else 'create_experiment'}"


def create_experiment() -> str:
    """Create the experiment and return its id."""
    return champions.connect().create_experiment(PROBLEM.experiment, exist_ok=True)


def get_current_experiment_id() -> str:
    """Return the id of the experiment.

    :raises LookupError: there is no such experiment
    """
    experiment = champions.connect().get_experiment_by_name(PROBLEM.experiment)
    if experiment is None:
        raise LookupError(f"MLflow has no experiment {PROBLEM.experiment}: trigger feature_eng, which creates it")
    return experiment["experiment_id"]


def extract_data(run_id: str) -> str:
    """Copy the table as it is into the run's folder, and return the URI of the copy.

    :raises AirflowFailException: the table cannot be read
    """
    from include.data.reading import TableError, parse_rows

    with fail_without_retry(TableError, FileNotFoundError):
        rows = parse_rows(_read_source(), PROBLEM.table)
    note_read(_source_uri(), rows)
    return storage.write_table(rows, object_uri(FEATURES, run_id, "raw.parquet"))


def check_data(rows_uri: str, experiment_id: str, run_id: str) -> str:
    """Check and repair the table, add the labelled rows, and return the URI of the result.

    The results of all checks are logged to MLflow and to the task's log, also if they end the run. So is what became of
    the labelled rows.

    :raises AirflowFailException: the table cannot be trained from
    """
    from include.data.checks import inspect
    from include.data.labelled import add_labelled
    from include.data.reading import TableError
    from include.data.split import check_split, select_rows

    inspection = inspect(storage.read_table(rows_uri), PROBLEM)
    quality = _log_checks(inspection, experiment_id)
    log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s", inspection.report())
    with fail_without_retry(TableError):
        table = select_rows(inspection, PROBLEM.table, PROBLEM)
    labelled, unusable = read_labelled()
    table, joined = add_labelled(table, labelled, PROBLEM)
    _log_labelled(joined, unusable, quality)
    with fail_without_retry(TableError):
        check_split(table, PROBLEM)
    return storage.write_table(table, object_uri(FEATURES, run_id, "checked.parquet"))


def build_features(table_uri: str, experiment_id: str, run_id: str) -> str:
    """Fit the transformer on the training rows, compute the features of all rows, and return their URI."""
    from include.data.features import build_transformer, compute_features
    from include.data.split import select_training

    table = storage.read_table(table_uri)
    training = select_training(table, PROBLEM)[PROBLEM.inputs]
    transformer = build_transformer(PROBLEM).fit(training)
    _log_transformer(transformer, training, experiment_id)
    engineered = compute_features(table, transformer, PROBLEM)
    return storage.write_table(engineered, object_uri(FEATURES, run_id, "engineered.parquet"))


def save_data_to_s3(table_uri: str, engineered_uri: str, run_id: str, outlet_events: Mapping[Any, Any]) -> str:
    """Write the feature table, raw columns and features side by side, and return its URI."""
    table = storage.read_table(table_uri).join(storage.read_table(engineered_uri))
    uri = storage.write_table(table, object_uri(FEATURES, run_id, "features.parquet"))
    outlet_events[FEATURES].extra = {"uri": uri}
    return uri


def build_table() -> pd.DataFrame:
    """Return the rows that a run would train from now: the problem's table, checked, with the labelled rows.

    :raises TableError: the table cannot be used
    :raises FileNotFoundError: it is missing
    """
    from include.data.checks import inspect
    from include.data.labelled import add_labelled
    from include.data.reading import parse_rows
    from include.data.split import select_rows

    inspection = inspect(parse_rows(_read_source(), PROBLEM.table), PROBLEM)
    return add_labelled(select_rows(inspection, PROBLEM.table, PROBLEM), read_labelled()[0], PROBLEM)[0]


def read_labelled(since: datetime | None = None) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the rows of the labelled files, and why the other files cannot be used; both by URI.

    :param since: leave out files that were written before
    """
    from include.data.labelled import check_labelled
    from include.data.reading import TableError

    labelled, unusable = {}, {}
    for uri in storage.list_tables(LABELLED.uri, since):
        try:
            labelled[uri] = check_labelled(served.complete(storage.read_bytes(uri, MAX_FILE), uri), uri, PROBLEM)
            note_read(uri, labelled[uri])
        except (TableError, storage.TooLargeError) as error:
            unusable[uri] = str(error)
            log.warning("Left out: %s", error)
    return labelled, unusable


def _source_uri() -> str:
    return PROBLEM.table if "://" in PROBLEM.table else str(INCLUDE.parent / PROBLEM.table)


def _read_source() -> bytes:
    source = _source_uri()
    in_storage = "://" in source
    if not (storage.exists(source) if in_storage else Path(source).exists()):
        raise FileNotFoundError(f"{source} is missing: put the table there, or change `table` in include/problem.py")
    return storage.read_bytes(source) if in_storage else Path(source).read_bytes()


def _log_checks(inspection: Any, experiment_id: str) -> str:
    """Log run ``Data quality``: a table of all results, and the number of failures of each severity; return its id."""
    from include.services import tracking

    results = inspection.to_frame()
    failures = results.groupby("severity")["failures"].sum()
    with tracking.start_run("Data quality", experiment_id) as run:
        tracking.mlflow.log_metrics({"rows": len(inspection.table)} | {f"{name}s": n for name, n in failures.items()})
        tracking.mlflow.log_table(results, "data_quality.json")
    note_checks(inspection)
    return run.info.run_id


def _log_labelled(joined: pd.DataFrame, unusable: Mapping[str, str], run_id: str) -> None:
    """Add to run ``Data quality`` what became of the rows of labelled files, and which files cannot be used."""
    import pandas as pd

    from include.services import tracking

    refused = pd.DataFrame({"file": [*unusable], "outcome": [f"cannot be used: {why}" for why in unusable.values()]})
    report = pd.concat([joined, refused.assign(rows=0, ids="")], ignore_index=True)
    left_out = int(joined.loc[joined["outcome"].str.startswith("left out"), "rows"].sum())
    metrics = {
        "labelled_joined": int(joined["rows"].sum()) - left_out,
        "labelled_left_out": left_out,
        "labelled_unusable_files": len(unusable),
    }
    with tracking.connected():
        client = tracking.MlflowClient()
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
        client.log_table(run_id, report, "labelled.json")


def _log_transformer(transformer: Pipeline, rows: Any, experiment_id: str) -> None:
    """Log run ``Scaler``: the transformer, the means of the features, and a hash of the rows that it was fitted on."""
    from include.data.features import feature_names
    from include.data.identity import hash_table
    from include.evaluation.scores import metric_name
    from include.services import tracking

    names = feature_names(transformer, PROBLEM)
    means = {
        f"mean_{metric_name(name.removeprefix('feature_'))}": float(mean)
        for name, mean in zip(names, transformer[-1].mean_, strict=True)
    }
    with tracking.start_run("Scaler", experiment_id):
        tracking.mlflow.log_params({"input_sha256": hash_table(rows), "input_rows": len(rows)})
        tracking.mlflow.log_metrics(means)
        tracking.log_transformer(transformer, rows)
