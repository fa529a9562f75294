"""The tasks of ``predict_incoming``: files of new rows, claimed, checked, predicted and moved."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import alerts, champions, storage
from include.services.assets import INCOMING, PREDICTIONS, PROCESSING, object_uri
from include.settings import DATA_BUCKET, MAX_FILE

INBOX, PUBLISHED = INCOMING.uri.rstrip("/"), f"{PREDICTIONS.uri.rstrip('/')}/incoming"
PROCESSED, REJECTED, FAILED = (f"s3://{DATA_BUCKET}/{folder}" for folder in ("processed", "rejected", "failed"))
BATCH = 500  # files in a run: Airflow maps a task over 1024 at most
MAX_FAILURES = 3  # runs that may fail to predict a file before it is rejected
MAX_STEM, MAX_SUFFIX = 100, 10  # characters of a name that are kept; it gets longer on its way, and folders end at 255
MAX_ALERTED = 10  # rejected files that an alert names

log = logging.getLogger(__name__)


def claim_files() -> list[str]:
    """Move the files in ``incoming/`` to ``processing/``, and return the files there.

    A claimed file gets a unique name: a later upload of the same name is another file, and a file that is claimed again
    after a kill is the same one. Files that an earlier run did not finish come last. A file that cannot be moved waits
    for the next run, and does not stop the others.
    """
    waiting = storage.list_objects(INBOX)
    if len(waiting) > BATCH:
        log.warning("%s files are waiting: %s in this run, the others in the next", len(waiting), BATCH)
    for uri in waiting[:BATCH]:
        try:
            _claim(uri)
        except storage.StorageError:
            log.exception("%s cannot be moved, and is tried again by the next run", uri)
    failures = Counter(uri.split("/")[-2] for uri in storage.list_objects(FAILED))
    return sorted(storage.list_objects(PROCESSING), key=lambda uri: failures[_name(uri)])[:BATCH]


def choose_model() -> dict[str, str]:
    """Return the version that predicts in the whole run.

    :raises AirflowSkipException: there is none yet; the files wait in ``processing/``
    """
    if not champions.versions():
        remedy = f"trigger feature_eng, which trains one; the files wait in {PROCESSING}"
        raise AirflowSkipException(f"{champions.MODEL} has no version yet: {remedy}")
    return champions.serving_version()


def check_rows(upload: str, run_id: str) -> str:
    """Check a file and write its rows, indexed by their id; return the URI.

    :raises AirflowSkipException: the file was processed before, or is rejected; the message names every error
    """
    from include.data.checks import check_inputs
    from include.data.reading import TableError, parse_rows

    name = _skip_if_done(upload)
    with _rejected(upload, TableError, storage.TooLargeError):
        if not name.lower().endswith((".csv", ".parquet")):
            raise TableError(f"{name} is not a table: its name must end in .csv or .parquet")
        rows = parse_rows(storage.read_bytes(upload, MAX_FILE), name)
        rows = check_inputs(rows, PROBLEM, name, unexpected=PROBLEM.limits.unexpected)
    return storage.write_table(
        rows.set_index(PROBLEM.id), object_uri(PREDICTIONS, run_id, f"{name}.parquet"), index=True
    )


def save_predictions(
    upload: str, rows_uri: str, predicted_uri: str, model: Mapping[str, str], outlet_events: Mapping[Any, Any]
) -> str:
    """Publish the predictions for a file with their audit trail, move the file to ``processed/``, return the URI.

    :raises AirflowSkipException: the file was processed before, or is rejected because predictions are impossible
    """
    from include.data.predictions import PredictionError, attach
    from include.services import trace

    name = _skip_if_done(upload)
    rows = storage.read_table(rows_uri).reset_index(names=PROBLEM.id)
    with _rejected(upload, PredictionError):
        predicted = attach(rows, storage.read_table(predicted_uri), PROBLEM)
    uri = storage.write_table(predicted, f"{PUBLISHED}/{PurePosixPath(name).with_suffix('.csv')}")
    trace.write_trace(uri, dict(model), rows_uri=f"{PROCESSED}/{name}")
    storage.move(upload, f"{PROCESSED}/{name}")
    outlet_events[PREDICTIONS].extra = {"uri": uri, "version": model["version"], "alias": model["alias"]}
    return uri


def settle_files(uploads: Sequence[str] | None, model: Mapping[str, str] | None, run_id: str) -> None:
    """Reject the files that this run and others before it could not predict, and alert the team of all rejected files.

    :param uploads: the files of this run; None if it could not list them
    :param model: the version that predicts; a run without one says nothing about the files
    """
    page = alerts.run_url("predict_incoming", run_id)
    for upload in uploads or []:
        if model and storage.exists(upload):
            _count_failure(upload, page, model["version"])
    _forget_failures()
    rejected = [name for name in map(_name, uploads or []) if storage.exists(f"{REJECTED}/{name}.reason.txt")]
    if rejected:
        reasons = {name: _read_reason(name) for name in rejected[:MAX_ALERTED]}
        facts = {"DAG": "predict_incoming", "run": run_id, "folder": REJECTED, **reasons}
        alerts.send(alerts.Alert(f"{len(rejected)} files of new rows were rejected", facts, page))


def name_upload(key: str, written: datetime, content: bytes) -> str:
    """Return a unique name for an upload: of the file, when it was written (UTC), and a hash of key and content.

    :param key: any characters, up to the 1024 bytes that S3 allows
    """
    stem, _, suffix = key.rpartition(".") if "." in key.rpartition("/")[2] else (key, "", "")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:MAX_STEM] or "file"
    suffix = re.sub(r"[^A-Za-z0-9]+", "", suffix)[:MAX_SUFFIX]
    name = f"{stem}-{written:%Y%m%dT%H%M%SZ}-{sha256(key.encode() + content).hexdigest()[:8]}"
    return f"{name}.{suffix}" if suffix else name


def _claim(uri: str) -> None:
    if (upload := storage.read_upload(uri, MAX_FILE)) is None:
        return  # deleted since it was listed
    content, written, etag = upload
    name = name_upload(uri.removeprefix(f"{INBOX}/"), written, etag.encode() if content is None else content)
    if content is None:
        storage.copy(uri, f"{PROCESSING}/{name}")  # too large: check_rows rejects it
    else:
        storage.write_bytes(content, f"{PROCESSING}/{name}")
    log.info("%s is processed as %s", uri, name)
    if not storage.delete_upload(uri, etag):
        log.info("%s was uploaded again: that is another file, for the next run", uri)


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _skip_if_done(upload: str) -> str:
    if not storage.exists(upload):
        raise AirflowSkipException(f"{upload} was processed before")
    return _name(upload)


@contextmanager
def _rejected(upload: str, *errors: type[Exception]) -> Iterator[None]:
    """Reject a file and skip the task if the block raises one of these errors."""
    try:
        yield
    except errors as error:
        raise AirflowSkipException(f"Moved to {_reject(upload, str(error))}: {error}") from error


def _count_failure(upload: str, page: str, version: str) -> None:
    """Note that a run could not predict a file, and reject it after ``MAX_FAILURES`` runs."""
    folder = f"{FAILED}/{_name(upload)}"
    storage.write_bytes(page.encode(), f"{folder}/{sha256(page.encode()).hexdigest()[:16]}")
    runs = [storage.read_bytes(uri).decode() for uri in storage.list_objects(folder)]
    if len(runs) >= MAX_FAILURES:
        reason = f"{len(runs)} runs could not predict it, the last one with version {version}. The logs of their tasks "
        _reject(upload, "\n".join([f"{reason}have the reason; if it was not the file, upload it again:", *runs]))


def _forget_failures() -> None:
    """Delete the notes on files that are not in ``processing/`` any more."""
    left = {_name(uri) for uri in storage.list_objects(PROCESSING)}
    for note in storage.list_objects(FAILED):
        if note.split("/")[-2] not in left:
            storage.delete(note)


def _reject(uri: str, reason: str) -> str:
    """Move a file to ``rejected/``, after the reason beside it, and return its URI there."""
    target = f"{REJECTED}/{_name(uri)}"
    storage.write_bytes(f"{reason}\n".encode(), f"{target}.reason.txt")
    return storage.move(uri, target)


def _read_reason(name: str) -> str:
    """Return the beginning of the reason why a file was rejected, in one line."""
    return " ".join(storage.read_bytes(f"{REJECTED}/{name}.reason.txt").decode().split())[: alerts.MAX_ERROR]
