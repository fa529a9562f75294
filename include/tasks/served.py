"""The rows that the model server answered, from its log, and the targets that were measured for them later.

A labelled file with a column ``prediction_id`` may lack the inputs: they are those of the request. The rows are then
kept permanently beside the log, whose own files are deleted after a while.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING

from include.problem import PROBLEM
from include.services import storage
from include.services.assets import LABELLED, MEASURED, REQUESTS
from include.services.lineage import note_read
from include.settings import MAX_FILE
from include.spec import PREDICTION_ID

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_FILES = 5000  # of the log that are read to compare its rows, about a minute
GROUP = 50_000  # rows

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


def find(ids: Collection[str], columns: Sequence[str], since: datetime | None = None) -> pd.DataFrame:
    """Return these columns of the logged rows with these prediction ids; files that lack a column are left out.

    :param since: leave out files that were written before
    """
    import pandas as pd

    uris = storage.list_tables(REQUESTS, since) if ids else []
    found = [rows[rows[PREDICTION_ID].isin(ids)] for rows in _read(uris, [PREDICTION_ID, *columns])]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[PREDICTION_ID, *columns])


def complete(content: bytes, uri: str) -> bytes:
    """Return a labelled file with the inputs of the rows that its prediction ids name, if it lacks inputs.

    :param content: of the file; any other one is returned as it is
    :raises TableError: the file is not a table
    """
    from include.data.reading import parse_rows

    if PREDICTION_ID.encode() not in content:
        return content
    rows = parse_rows(content, uri)
    if PREDICTION_ID not in rows or set(PROBLEM.inputs) <= set(rows):
        return content
    kept = f"{MEASURED}/{sha256(content).hexdigest()[:16]}.{uri.rpartition('.')[2].lower()}"
    if not storage.exists(kept):
        asked = find(ids := set(rows[PREDICTION_ID].astype(str)), PROBLEM.inputs)
        if asked.empty:
            return content
        if lacking := len(ids.difference(asked[PREDICTION_ID])):
            log.warning("%s: %s of its prediction ids are not in the log: left out permanently", uri, lacking)
        own = rows.drop(columns=[name for name in PROBLEM.inputs if name in rows])
        joined = own.astype({PREDICTION_ID: str}).merge(asked, on=PREDICTION_ID)
        if PROBLEM.row_id and PROBLEM.row_id not in joined:
            joined[PROBLEM.row_id] = joined[PREDICTION_ID]
        is_csv = kept.endswith("csv")
        storage.write_bytes((joined.to_csv(index=False).encode() if is_csv else joined.to_parquet(index=False)), kept)
    return storage.read_bytes(kept)


def read_targets(since: datetime) -> pd.Series:
    """Return the possible targets of labelled files since then, by prediction id; the last file counts."""
    import pandas as pd

    from include.data.reading import TableError, parse_rows
    from include.data.schema import is_possible

    target, measured = PROBLEM.target, []
    for uri in storage.list_tables(LABELLED.uri, since):
        try:
            rows = parse_rows(storage.read_bytes(uri, MAX_FILE), uri)
        except (TableError, storage.TooLargeError) as error:
            log.warning("Left out: %s", error)
            continue
        if {PREDICTION_ID, target.name} <= set(rows):
            numbers = pd.to_numeric(rows[target.name], errors="coerce").set_axis(rows[PREDICTION_ID].astype(str))
            measured.append(numbers[numbers.notna() & is_possible(numbers, target)])
    found = pd.concat(measured) if measured else pd.Series(dtype=float)
    return found[~found.index.duplicated(keep="last")]


def _read(uris: Sequence[str], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield these columns of files of the log, many small ones at once; files that lack one are left out.

    So are those where it has another kind than the problem says now.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []
    for number, uri in enumerate(uris, start=1):
        if read := storage.read_upload(uri, inf):  # else it was deleted meanwhile
            file = pq.ParquetFile(BytesIO(read[0] or b""))
            if lacking := [name for name in columns if not _has(file.schema_arrow, name)]:
                log.info("Left out: %s lacks %s", uri, ", ".join(lacking))
            else:
                waiting.append(file.read(list(columns)))
        if waiting and (number == len(uris) or sum(table.num_rows for table in waiting) >= GROUP):
            yield pa.concat_tables(waiting).to_pandas()
            waiting.clear()


def _has(schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    if name not in PROBLEM.inputs or name not in schema.names:
        return name in schema.names
    kind = schema.field(name).type
    return (pa.types.is_string(kind) or pa.types.is_large_string(kind)) == (name in PROBLEM.categories)
