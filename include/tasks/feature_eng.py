"""From the possum table to the feature table, a function for each task; what they hand each other lies in S3."""

from __future__ import annotations

import logging

from include import config
from include.data import checks as quality
from include.data import features
from include.data import table as possums
from include.data.labelled import add_labelled
from include.platform import storage, tracking
from include.platform.assets import FEATURES, LABELLED, object_uri
from include.platform.failures import no_other_try
from include.platform.lineage import note_read

log = logging.getLogger(__name__)


def extract_data(run_id: str) -> str:
    """Copy the possum table, as it is, into the run's folder, and return the URI of the copy.

    :raises AirflowFailException: the file is no table of possums
    """
    with no_other_try(possums.TableError):
        rows = possums.read_rows(config.POSSUM_CSV)
    note_read(str(config.POSSUM_CSV), rows)
    return storage.write_table(rows, object_uri(FEATURES, run_id, "raw.parquet"))


def check_data(rows_uri: str, experiment_id: str, run_id: str) -> str:
    """Check and clean the table, add the animals measured since, and return the URI of the outcome.

    What the checks found is logged to MLflow and to the task's log, also if it ends the run.

    :raises AirflowFailException: the table cannot be trained from
    """
    inspection = quality.inspect(storage.read_table(rows_uri))
    tracking.log_quality(inspection, experiment_id)
    log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s", inspection.report())
    with no_other_try(possums.TableError):
        table = possums.select_possums(inspection, config.POSSUM_CSV)
    measured = {uri: storage.read_bytes(uri) for uri in storage.list_objects(LABELLED.uri) if uri.endswith(".csv")}
    return storage.write_table(add_labelled(table, measured), object_uri(FEATURES, run_id, "possum.parquet"))


def build_features(possums_uri: str, experiment_id: str, run_id: str) -> str:
    """Fit the transformer on the training animals, compute everyone's features, and return their URI."""
    table = storage.read_table(possums_uri)
    training = possums.select_training(table)[config.RAW]
    transformer = features.build_transformer().fit(training)
    tracking.log_transformer(transformer, training, experiment_id)
    engineered = features.compute_features(table, transformer)
    return storage.write_table(engineered, object_uri(FEATURES, run_id, "engineered.parquet"))


def save_data_to_s3(possums_uri: str, engineered_uri: str, run_id: str) -> str:
    """Write the feature table, raw columns and features side by side, and return its URI."""
    table = storage.read_table(possums_uri).join(storage.read_table(engineered_uri))
    return storage.write_table(table, object_uri(FEATURES, run_id, "features.parquet"))
