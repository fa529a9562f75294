"""The tasks of ``feature_eng``: from the problem's table to the feature table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.problem import PROBLEM
from include.services import champions, samples, storage
from include.services.assets import FEATURES, LABELLED, object_uri
from include.services.failures import fail_without_retry
from include.services.lineage import combine, describe, note_checks, note_read
from include.settings import INCLUDE, MAX_FILE
from include.spec import SPLIT
from include.tasks import served

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from include.data.reading import Part

MAX_LABELLED = 1_000_000  # rows of labelled files, which are in memory together
REMEDY = "add the rows of older files to the table, and delete these files"

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

    :raises LookupError: the experiment does not exist
    """
    experiment = champions.connect().get_experiment_by_name(PROBLEM.experiment)
    if experiment is None:
        raise LookupError(f"MLflow has no experiment {PROBLEM.experiment}: trigger feature_eng, which creates it")
    return experiment["experiment_id"]


def extract_data(run_id: str) -> str:
    """Copy the table as it is into the run's folder, and return the URI of the copy.

    :raises AirflowFailException: the table cannot be read
    """
    from include.data.reading import TableError, rebatch

    sizes: dict[str, int] = {}
    with fail_without_retry(TableError, FileNotFoundError):
        rows = rebatch(_read_source(sizes), storage.BATCH_ROWS)
        uri = storage.write_batches(rows, object_uri(FEATURES, run_id, "raw.parquet"))
    storage.write_bytes(json.dumps(sizes).encode(), object_uri(FEATURES, run_id, "parts.json"))
    return uri


def check_data(rows_uri: str, experiment_id: str, run_id: str) -> str:
    """Check and repair the table, add the labelled rows, and return the URI of the result.

    The results of all checks are logged to MLflow and to the task's log, also if they end the run. So is what became of
    the labelled rows.

    :raises AirflowFailException: the table cannot be trained from
    """
    from include.data.checks import Inspector
    from include.data.reading import TableError, name_rows
    from include.data.split import check_split, raise_errors, select_batches

    uri = object_uri(FEATURES, run_id, "checked.parquet")
    sizes = json.loads(storage.read_bytes(object_uri(FEATURES, run_id, "parts.json")))
    inspector = Inspector(PROBLEM, name=name_rows(sizes))
    with suppress(TableError):  # raised again below, when the results are logged
        rows = _number(storage.read_batches(rows_uri))
        storage.write_batches(select_batches(rows, inspector, PROBLEM.table, PROBLEM), uri)
    inspection = inspector.finish()
    quality = _log_checks(inspection, experiment_id)
    log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s", inspection.report())
    with fail_without_retry(TableError):
        raise_errors(inspection, PROBLEM.table)
    _join_labelled(uri, quality)
    with fail_without_retry(TableError):
        check_split(storage.read_batches(uri, [SPLIT, PROBLEM.target.name]), PROBLEM)
    return uri


def build_features(table_uri: str, experiment_id: str, run_id: str) -> str:
    """Fit the transformer on the rows that a model is fitted to, compute the features of all, and return their URI."""
    from include.data.features import build_transformer, compute_features

    most = PROBLEM.limits.max_training_rows
    training = samples.read_sample(table_uri, PROBLEM, training=most, columns=PROBLEM.inputs)
    transformer = build_transformer(PROBLEM).fit(training)
    _log_transformer(transformer, training, experiment_id)
    features = (compute_features(rows, transformer, PROBLEM) for rows in storage.read_batches(table_uri))
    return storage.write_batches(features, object_uri(FEATURES, run_id, "engineered.parquet"))


def save_data_to_s3(table_uri: str, engineered_uri: str, run_id: str, outlet_events: Mapping[Any, Any]) -> str:
    """Write the feature table, raw columns and features side by side, and return its URI."""
    sides = zip(storage.read_batches(table_uri), storage.read_batches(engineered_uri), strict=True)
    uri = object_uri(FEATURES, run_id, "features.parquet")
    storage.write_batches((rows.join(features, validate="1:1") for rows, features in sides), uri)
    outlet_events[FEATURES].extra = {"uri": uri}
    return uri


def build_table() -> Iterator[pd.DataFrame]:
    """Yield the rows that a run would train from now: the problem's table, checked, with the labelled rows.

    :raises TableError: the table cannot be used
    :raises FileNotFoundError: it is missing
    """
    from include.data.checks import Inspector
    from include.data.labelled import add_labelled
    from include.data.split import select_batches

    def read() -> Iterator[pd.DataFrame]:
        return select_batches(_number(_read_source({})), Inspector(PROBLEM), PROBLEM.table, PROBLEM)

    labelled, _ = read_labelled()
    yield from add_labelled(read, labelled, PROBLEM)[0] if labelled else read()


def read_labelled(since: datetime | None = None) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the rows of the labelled files, and why the other files cannot be used; both by URI.

    :param since: leave out files that were written before
    """
    from include.data.labelled import check_labelled
    from include.data.reading import TableError

    labelled: dict[str, pd.DataFrame] = {}
    unusable: dict[str, str] = {}
    for uri in storage.list_tables(LABELLED.uri, since):
        try:
            rows = check_labelled(served.complete(storage.read_bytes(uri, MAX_FILE), uri), uri, PROBLEM)
            if (total := sum(map(len, [*labelled.values(), rows]))) > MAX_LABELLED:
                raise TableError(f"{uri} makes {total:,} labelled rows, {MAX_LABELLED:,} is the limit: {REMEDY}")
            labelled[uri] = rows
            note_read(uri, rows)
        except (TableError, storage.TooLargeError) as error:
            unusable[uri] = str(error)
            log.warning("Left out: %s", error)
    return labelled, unusable


def _read_source(sizes: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield the rows of the table as they are; `sizes` gets the number of rows of each part."""
    from include.data.reading import read_parts

    source = PROBLEM.table if "://" in PROBLEM.table else str(INCLUDE.parent / PROBLEM.table)
    described = []
    for name, rows in read_parts(_find_parts(source), storage.BATCH_ROWS):
        sizes[name] = sizes.get(name, 0) + len(rows)
        described.append(describe(rows))
        yield rows
    note_read(source, combine(described))


def _find_parts(source: str) -> list[Part]:
    """Return the files of the table: itself, or those in the folder."""
    from include.data.reading import Part

    in_storage, is_folder = "://" in source, PROBLEM.table.endswith("/")
    if is_folder:
        files = storage.list_tables(source) if in_storage else storage.select_tables(map(str, Path(source).rglob("*")))
    else:
        files = [source] if (storage.exists(source) if in_storage else Path(source).exists()) else []
    if not files:
        raise FileNotFoundError(f"{source} is missing: put the table there, or change `table` in include/problem.py")
    opener = storage.open_object if in_storage else FileIO
    names = [file.removeprefix(source).lstrip("/") if is_folder else PROBLEM.table for file in files]
    return [Part(name, partial(opener, file)) for name, file in zip(names, files, strict=True)]


def _number(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the batches with an index that counts the rows of all."""
    start = 0
    for rows in batches:
        yield rows.set_axis(range(start, start + len(rows)))
        start += len(rows)


def _join_labelled(table_uri: str, quality: str) -> None:
    """Add the rows of labelled files to the table."""
    from include.data.labelled import add_labelled, no_report

    labelled, unusable = read_labelled()
    report = no_report()
    if labelled:
        rows, report = add_labelled(partial(storage.read_batches, table_uri), labelled, PROBLEM)
        storage.write_batches(rows, table_uri)
    _log_labelled(report, unusable, quality)


def _log_checks(inspection: Any, experiment_id: str) -> str:
    """Log run ``Data quality``: a table of all results, and the number of failures of each severity; return its id."""
    from include.services import tracking

    results = inspection.to_frame()
    failures = results.groupby("severity")["failures"].sum()
    with tracking.start_run("Data quality", experiment_id) as run:
        tracking.mlflow.log_metrics({"rows": inspection.rows} | {f"{name}s": n for name, n in failures.items()})
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


def _log_transformer(transformer: Pipeline, rows: pd.DataFrame, experiment_id: str) -> None:
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
