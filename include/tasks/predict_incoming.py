"""The tasks of ``predict_incoming``: files of new rows, claimed, checked, predicted and moved."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import champions, storage
from include.services.assets import INCOMING, PREDICTIONS, PROCESSING, object_uri
from include.settings import DATA_BUCKET

INBOX, PUBLISHED = INCOMING.uri.rstrip("/"), f"{PREDICTIONS.uri.rstrip('/')}/incoming"
PROCESSED, REJECTED = f"s3://{DATA_BUCKET}/processed", f"s3://{DATA_BUCKET}/rejected"
BATCH = 500  # files in a run: Airflow maps a task over 1024 at most

log = logging.getLogger(__name__)


def claim_files() -> list[str]:
    """Move the files in ``incoming/`` to ``processing/``, and return all files there.

    A claimed file gets a unique name: a later upload of the same name is another file, and a file that is claimed twice
    because the task was killed is one. Files that an earlier run did not finish are included.
    """
    waiting = [uri for uri in storage.list_objects(INBOX) if not uri.endswith("/")]
    if len(waiting) > BATCH:
        log.warning("%s files are waiting: %s in this run, the others in the next", len(waiting), BATCH)
    for uri in waiting[:BATCH]:
        _claim(uri)
    return storage.list_objects(PROCESSING)[:BATCH]


def choose_model() -> dict[str, str]:
    """Return the version that predicts in the whole run."""
    return champions.serving_version()


def check_rows(upload: str, run_id: str) -> str:
    """Check a file and write its rows, indexed by their id; return the URI.

    :raises AirflowSkipException: the file was processed before, or is rejected; the message names every error
    """
    from include.data.checks import check_inputs
    from include.data.reading import TableError, parse_rows

    name = _skip_if_done(upload)
    try:
        if not name.lower().endswith((".csv", ".parquet")):
            raise TableError(f"{name} is not a table: its name must end in .csv or .parquet")
        rows = check_inputs(parse_rows(storage.read_bytes(upload), name), PROBLEM, name)
    except TableError as error:
        raise AirflowSkipException(f"Moved to {_reject(upload, str(error))}: {error}") from error
    return storage.write_table(
        rows.set_index(PROBLEM.id), object_uri(PREDICTIONS, run_id, f"{name}.parquet"), index=True
    )


def save_predictions(
    upload: str, rows_uri: str, predicted_uri: str, model: Mapping[str, str], outlet_events: Mapping[Any, Any]
) -> str:
    """Publish the predictions for a file with their audit trail, move the file to ``processed/``, return the URI.

    :raises AirflowSkipException: the file was processed before
    """
    from include.data.predictions import attach
    from include.services import trace

    name = _skip_if_done(upload)
    rows = storage.read_table(rows_uri).reset_index(names=PROBLEM.id)
    predicted = attach(rows, storage.read_table(predicted_uri), PROBLEM)
    uri = storage.write_table(predicted, f"{PUBLISHED}/{PurePosixPath(name).with_suffix('.csv')}")
    trace.write_trace(uri, dict(model), rows_uri=f"{PROCESSED}/{name}")
    storage.move(upload, f"{PROCESSED}/{name}")
    outlet_events[PREDICTIONS].extra = {"uri": uri, "version": model["version"], "alias": model["alias"]}
    return uri


def name_upload(key: str, written: datetime, content: bytes) -> str:
    """Return a unique name for an upload: of the file, when it was written (UTC), and a hash of key and content."""
    path = PurePosixPath(key)
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(path.with_suffix("")))
    suffix = re.sub(r"[^A-Za-z0-9.]+", "", path.suffix)
    return f"{stem}-{written:%Y%m%dT%H%M%SZ}-{sha256(key.encode() + content).hexdigest()[:8]}{suffix}"


def _claim(uri: str) -> None:
    if (upload := storage.read_upload(uri)) is None:
        return  # deleted since it was listed
    content, written, etag = upload
    name = name_upload(uri.removeprefix(f"{INBOX}/"), written, content)
    storage.write_bytes(content, f"{PROCESSING}/{name}")
    log.info("%s is processed as %s", uri, name)
    if not storage.delete_upload(uri, etag):
        log.info("%s was uploaded again: that is another file, for the next run", uri)


def _skip_if_done(upload: str) -> str:
    if not storage.exists(upload):
        raise AirflowSkipException(f"{upload} was processed before")
    return PurePosixPath(upload).name


def _reject(uri: str, reason: str) -> str:
    """Move a file to ``rejected/``, after the reason beside it, and return its URI there."""
    target = f"{REJECTED}/{PurePosixPath(uri).name}"
    storage.write_bytes(f"{reason}\n".encode(), f"{target}.reason.txt")
    return storage.move(uri, target)
