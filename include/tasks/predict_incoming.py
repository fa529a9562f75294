"""Files of new possums, whose tails nobody has measured: taking them, checking them, putting them away."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath

import pandas as pd
from pandera.pandas import Check, DataFrameSchema

from include.config import CASE, DATA_BUCKET, NUMERIC, TARGET
from include.data.checks import MEASURES, SCHEMA, run_checks
from include.data.table import TableError, parse_rows
from include.platform import storage, trace
from include.platform.assets import INCOMING, PREDICTIONS, PROCESSING

log = logging.getLogger(__name__)
INBOX, PUBLISHED = INCOMING.uri.rstrip("/"), f"{PREDICTIONS.uri.rstrip('/')}/incoming"
PROCESSED, REJECTED = f"s3://{DATA_BUCKET}/processed", f"s3://{DATA_BUCKET}/rejected"
BATCH = 500  # files a run: Airflow maps a task over 1024 at most


def _possible(name: str) -> Check:
    low, high = MEASURES[name].possible
    return Check.in_range(low, high, False, False, error=f"is impossible ({low:g} to {high:g} {MEASURES[name].unit})")


# The schema of the training table, but for a table of a single row: a column may be empty, and since nobody looks at
# what was cleaned, an impossible value is refused instead of taken for missing.
NEW_POSSUMS = SCHEMA.remove_columns([TARGET]).update_columns({name: {"checks": [_possible(name)]} for name in NUMERIC})
ROWS_ALONE = NEW_POSSUMS.remove_columns([CASE])  # whoever asks for predictions one by one knows the animals himself


def claim_files() -> list[str]:
    """Take what lies in ``incoming/`` and return the URIs of all files to be processed.

    A file that is taken gets a name of its own: a later upload of the same name is another file, and one that is
    taken twice, because the task was killed, is one. What an earlier run did not finish is among the result.
    """
    waiting = [uri for uri in storage.list_objects(INBOX) if not uri.endswith("/")]
    if len(waiting) > BATCH:
        log.warning("%s files are waiting: %s of them now, the others later", len(waiting), BATCH)
    for uri in waiting[:BATCH]:
        _claim(uri)
    return storage.list_objects(PROCESSING)[:BATCH]


def _claim(uri: str) -> None:
    if (upload := storage.read_upload(uri)) is None:
        return  # whoever put it there has taken it back
    content, written, etag = upload
    name = name_upload(uri.removeprefix(f"{INBOX}/"), written, content)
    storage.write_bytes(content, f"{PROCESSING}/{name}")
    log.info("%s is processed as %s", uri, name)
    if not storage.delete_upload(uri, etag):
        log.info("%s has been uploaded anew meanwhile: that is another file, for the next run", uri)


def name_upload(key: str, written: datetime, content: bytes) -> str:
    """Return a name for one upload: that of the file, when it was uploaded (UTC) and a hash of key and content."""
    path = PurePosixPath(key)
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(path.with_suffix("")))
    suffix = re.sub(r"[^A-Za-z0-9.]+", "", path.suffix)
    return f"{stem}-{written:%Y%m%dT%H%M%SZ}-{sha256(key.encode() + content).hexdigest()[:8]}{suffix}"


def read_rows(uri: str) -> pd.DataFrame:
    """Read and check a file of new possums.

    :return: one row an animal, the columns of ``possums.SCHEMA`` but the tail length
    :raises TableError: if it is no CSV file, is empty or breaks the schema; the message names row and column
    """
    name = PurePosixPath(uri).name
    if not name.lower().endswith(".csv"):
        raise TableError(f"{name} is no CSV file: its name must end in .csv")
    table = parse_rows(storage.read_bytes(uri), name)
    return check_rows(table, name, NEW_POSSUMS, first=2)


def check_rows(table: pd.DataFrame, name: str, schema: DataFrameSchema, first: int = 1) -> pd.DataFrame:
    """Check rows of possums against a schema, and return its columns.

    :param name: of the table, for messages
    :param first: the number of its first row, for messages
    :raises TableError: naming every fault with row and column
    """
    if table.empty:
        raise TableError(f"{name} has no rows: give it one an animal")
    numbered = table.set_axis(range(first - 2, first - 2 + len(table)))
    checked, results = run_checks(schema, numbered, "halting")
    if faults := [fault for result in results for fault in result.faults]:
        raise TableError(f"{name} cannot be used:\n" + "\n".join(faults))
    checked = checked.reset_index(drop=True)
    return checked.astype({column: int for column in (CASE, "site") if column in checked})


def reject(uri: str, reason: str) -> str:
    """Put a file away with the reason beside it, and return its URI there; the reason is there first."""
    target = f"{REJECTED}/{PurePosixPath(uri).name}"
    storage.write_bytes(f"{reason}\n".encode(), f"{target}.reason.txt")
    return storage.move(uri, target)


def finish(uri: str, predictions: pd.DataFrame, model: dict[str, str]) -> str:
    """Publish the predictions for a file, with their trail, then put the file away; return the predictions' URI.

    :param model: ``version``, ``run_id`` and ``alias`` of the version that predicted
    """
    name = PurePosixPath(uri).name
    published = storage.write_table(predictions, f"{PUBLISHED}/{name}")
    trace.leave_trail(published, model, rows_uri=f"{PROCESSED}/{name}")
    storage.move(uri, f"{PROCESSED}/{name}")
    return published
