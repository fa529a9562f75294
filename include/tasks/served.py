"""Rows of the model server's log, and the targets that were measured for them later.

A labelled file with a column ``prediction_id`` may lack the inputs: they are taken from the log. These rows are kept
permanently beside it, because the log's own files are deleted after a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING

from include.problem import PROBLEM
from include.services import storage
from include.services.assets import LABELLED, MEASURED, REQUESTS
from include.services.lineage import note_read
from include.settings import MAX_FILE
from include.spec import LOGGED, PREDICTION_ID

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_FILES = 5000  # of the log that are read to compare its rows, about a minute
GROUP = 50_000  # rows
JOINED = 20_000_000  # bytes of the files that are joined
PATIENCE = timedelta(days=1)  # for rows that the log lacks: those of the last minute, or while the server cannot write

_, _, VERSION, CHALLENGER, CHALLENGER_PREDICTED = LOGGED
PREDICTIONS = ["predicted", VERSION, CHALLENGER, CHALLENGER_PREDICTED]  # columns of the log beside the inputs

log = logging.getLogger(__name__)


def read_inputs(since: datetime) -> Iterator[pd.DataFrame]:
    """Yield ``problem.id`` and ``problem.inputs`` of rows that were answered since then; the id is the prediction's.

    Of more than 5,000 files, that many are read, drawn by the random part of their names.
    """
    from include.data.identity import add_identity

    uris = sorted(storage.list_tables(REQUESTS, since), key=lambda uri: uri[-len("01234567.parquet") :])[:MAX_FILES]
    for rows in _read(sorted(uris), [PREDICTION_ID, *PROBLEM.inputs]):
        note_read(REQUESTS, rows)
        if PROBLEM.row_id:
            yield rows.rename(columns={PREDICTION_ID: PROBLEM.row_id})
        else:
            yield add_identity(rows.drop(columns=PREDICTION_ID), PROBLEM)


def complete(content: bytes, uri: str) -> bytes:
    """Return a labelled file with the logged predictions of both versions, joined by prediction id.

    If the file lacks inputs, those of the log are added, and rows that the log lacks are left out. They are looked for
    again until a day after the last were found.

    :param content: of the file; returned as it is if it has no prediction ids
    :raises TableError: the file is not a table
    """
    from include.data.reading import parse_rows

    if PREDICTION_ID.encode() not in content:
        return content
    rows = parse_rows(content, uri)
    if PREDICTION_ID not in rows:
        return content
    rows[PREDICTION_ID] = rows[PREDICTION_ID].astype(str).str.strip()
    logged = _keep(set(rows[PREDICTION_ID]), content, uri)
    if logged.empty:
        return content
    has_inputs = set(PROBLEM.inputs) <= set(rows)
    wanted = PREDICTIONS if has_inputs else [*PROBLEM.inputs, *PREDICTIONS]
    added = [name for name in wanted if name in logged]  # an input may be newer
    own = rows.drop(columns=[name for name in added if name in rows])
    joined = own.merge(logged[[PREDICTION_ID, *added]], how="left" if has_inputs else "inner")
    if PROBLEM.row_id and PROBLEM.row_id not in joined:
        joined[PROBLEM.row_id] = joined[PREDICTION_ID]
    return joined.to_csv(index=False).encode() if uri.lower().endswith("csv") else joined.to_parquet(index=False)


def read_measured(since: datetime) -> pd.DataFrame:
    """Return the rows of labelled files since then that the log has had; of several with a prediction id, the last one.

    :return: columns ``prediction_id``, ``target``, and ``PREDICTIONS``
    """
    import pandas as pd

    from include.data.reading import TableError, parse_rows
    from include.data.schema import is_possible

    target, measured = PROBLEM.target, [pd.DataFrame(columns=[PREDICTION_ID, "target", *PREDICTIONS])]
    for uri in storage.list_tables(LABELLED.uri, since):
        try:
            rows = parse_rows(complete(storage.read_bytes(uri, MAX_FILE), uri), uri)
        except (TableError, storage.TooLargeError) as error:
            log.warning("Left out: %s", error)
            continue
        if {PREDICTION_ID, target.name, VERSION} <= set(rows):
            rows = rows.rename(columns={target.name: "target"})[list(measured[0])]
            for name in ("target", "predicted", CHALLENGER_PREDICTED):
                rows[name] = pd.to_numeric(rows[name], errors="coerce")
            measured.append(rows[rows[VERSION].notna() & rows["target"].notna() & is_possible(rows["target"], target)])
    return pd.concat(measured).drop_duplicates(PREDICTION_ID, keep="last")


def join_files() -> None:
    """Join the files of each past day: a server with few requests writes one a minute.

    If this is interrupted, rows are in two files until it runs again.
    """
    today = f"{REQUESTS}/{datetime.now(UTC):%Y-%m-%d}/"
    details = [entry for entry in storage.list_details(REQUESTS) if not entry[0].startswith(today)]
    for _, entries in groupby(details, key=lambda entry: entry[0].rpartition("/")[0]):
        uris, total = list[str](), 0
        for uri, size, _ in entries:
            if total + size > JOINED:
                _join(uris)
                uris, total = [], 0
            uris, total = [*uris, uri], total + size
        _join(uris)


def _join(uris: Sequence[str]) -> None:
    """Replace files by one for each schema that they have."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_schema: dict[str, dict[str, pa.Table]] = {}
    for uri in uris if len(uris) > 1 else ():
        table = pq.read_table(BytesIO(storage.read_bytes(uri)))
        by_schema.setdefault(str(table.schema.remove_metadata()), {})[uri] = table
    for tables in by_schema.values():
        if len(tables) > 1:
            first, schema = min(tables), next(iter(tables.values())).schema
            rows = pd.concat([table.to_pandas() for table in tables.values()]).drop_duplicates(PREDICTION_ID)
            pq.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False), buffer := BytesIO())
            name = sha256("".join(sorted(tables)).encode()).hexdigest()[:8]
            joined = storage.write_bytes(buffer.getvalue(), f"{first.rpartition('-')[0]}-{name}.parquet")
            storage.delete_all([uri for uri in tables if uri != joined])
            log.info("%s has the %s rows of %s files", joined, len(rows), len(tables))


def _keep(ids: set[str], content: bytes, uri: str) -> pd.DataFrame:
    """Return the logged rows with these prediction ids, and keep a copy that outlives the log.

    :param content: of the labelled file that has the ids
    """
    import pandas as pd

    kept = f"{MEASURED}/{sha256(content).hexdigest()[:16]}.parquet"
    read = storage.read_upload(kept)
    found = pd.read_parquet(BytesIO(read[0] or b"")) if read else pd.DataFrame(columns=_columns())
    lacking = ids.difference(found[PREDICTION_ID])
    if lacking and (read is None or datetime.now(UTC) - read[1] < PATIENCE):
        more = _find(lacking)
        lacking = lacking.difference(more[PREDICTION_ID])
        if read is None or len(more):
            found = pd.concat([found, more], ignore_index=True)
            storage.write_bytes(found.to_parquet(index=False), kept)
    if lacking:
        log.warning("%s: %s of its prediction ids are not in the log", uri, len(lacking))
    return found


def _find(ids: set[str]) -> pd.DataFrame:
    """Return inputs and predictions of the logged rows with these prediction ids."""
    import pandas as pd

    tables = _read(storage.list_tables(REQUESTS), [PREDICTION_ID, *PROBLEM.inputs], PREDICTIONS)
    found = [rows[rows[PREDICTION_ID].isin(ids)] for rows in tables]
    return pd.concat(found).drop_duplicates(PREDICTION_ID) if found else pd.DataFrame(columns=_columns())


def _columns() -> list[str]:
    return [PREDICTION_ID, *PROBLEM.inputs, *PREDICTIONS]


def _read(uris: Sequence[str], columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[pd.DataFrame]:
    """Yield these columns of log files, many small files at once.

    Files in which a column is missing, or has another type than the problem says now, are left out.

    :param optional: further columns, empty where a file lacks them
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []
    for number, uri in enumerate(uris, start=1):
        if read := storage.read_upload(uri):  # else it was deleted meanwhile
            file = pq.ParquetFile(BytesIO(read[0] or b""))
            if lacking := [name for name in columns if not _has(file.schema_arrow, name)]:
                log.info("Left out: %s lacks %s", uri, ", ".join(lacking))
            else:
                waiting.append(file.read([*columns, *(name for name in optional if name in file.schema_arrow.names)]))
        if waiting and (number == len(uris) or sum(table.num_rows for table in waiting) >= GROUP):
            rows = pa.concat_tables(waiting, promote_options="default").to_pandas()
            yield rows.reindex(columns=[*columns, *optional])
            waiting.clear()


def _has(schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    if name not in PROBLEM.inputs or name not in schema.names:
        return name in schema.names
    kind = schema.field(name).type
    return (pa.types.is_string(kind) or pa.types.is_large_string(kind)) == (name in PROBLEM.categories)
