"""The rows that monitoring compares and counts: predicted or labelled recently, and new to the models."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import champions, samples, storage
from include.services.assets import PREDICTIONS
from include.services.lineage import note_read
from include.spec import SPLIT
from include.tasks import feature_eng, served
from include.tasks.predict_incoming import PUBLISHED, REJECTED

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MAX_ROWS = 100_000  # that are compared
MAX_BYTES = 10**9  # of predicted rows that are read

log = logging.getLogger(__name__)


def read_known(uri: str, select: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows) -> np.ndarray:
    """Return the sorted keys of rows of the table that the champion was trained on, eight bytes each.

    :param select: returns those rows of a batch that count; all if not given
    :raises AirflowSkipException: it is gone, or lacks a column that the problem has now
    """
    import numpy as np

    if not storage.exists(uri):
        raise AirflowSkipException(f"the champion's table {uri} is gone: there is no table to compare with")
    if lacking := _lacking(uri):
        raise AirflowSkipException(
            f"the champion's table {uri} lacks {', '.join(sorted(lacking))}: comparisons resume with the next champion"
        )
    batches = storage.read_batches(uri, [*PROBLEM.columns, SPLIT])
    return np.sort(np.concatenate([_hash_rows(select(rows)) for rows in batches]))


def read_recent_inputs(known: np.ndarray, days: float) -> pd.DataFrame:
    """Return inputs that were predicted in the last `days`, each row once and none that is in `known`.

    They come from ``predict``, from ``incoming/`` and from the log of the model server. Rows of the champion's table
    are excluded, because they cannot show drift: those of the same id and inputs. The same inputs alone are not enough:
    where inputs have few different values, only rare rows would remain, which would look like drift. Without an id, the
    rows that ``predict`` reads from the table are left out, and those of ``incoming/`` all count, as those of the model
    server always do.

    :param known: of the champion's feature table, as :func:`read_known` returns them
    :return: at most ``MAX_ROWS``, drawn as :mod:`include.data.sampling` says
    """
    since = _ago(days)
    predicted = chain.from_iterable(map(_read_inputs, _list_newest(PREDICTIONS.uri, since)))
    return _draw(chain(predicted, served.read_inputs(since)), known if PROBLEM.row_id else None)


def read_recent_labelled(known: np.ndarray, days: float) -> pd.DataFrame:
    """Return the rows whose target was measured in the last `days`, checked and repaired as for training.

    :param known: those of the champion's feature table that have a target, as :func:`read_known` returns them
    :return: at most ``MAX_ROWS``, drawn as :mod:`include.data.sampling` says
    """
    labelled, _ = feature_eng.read_labelled(since=_ago(days))
    return _draw(labelled.values(), known)


def count_rejected(days: float) -> int:
    """Return how many files were rejected in the last `days`."""
    return sum(uri.endswith(".reason.txt") for uri in storage.list_objects(REJECTED, since=_ago(days)))


def count_new_rows(version: Mapping[str, Any]) -> int:
    """Return how many rows ``feature_eng`` would find now to learn from that a version has not learned from.

    :param version: as MLflow describes it
    :raises TableError: the problem's table cannot be used
    :raises FileNotFoundError: it is missing
    """
    from include.data.split import select_training

    training = (select_training(rows, PROBLEM) for rows in feature_eng.build_table())
    uri = champions.find_features(version)
    if not uri or _lacking(uri):
        return sum(map(len, training))  # the version was trained on another table
    known = read_known(uri, lambda rows: select_training(rows, PROBLEM))
    return sum(len(_select_new(rows, known)) for rows in training)


def _lacking(uri: str) -> set[str]:
    return {SPLIT, *PROBLEM.columns}.difference(samples.list_columns(uri))


def _ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _list_newest(folder: str, since: datetime) -> list[str]:
    """Return the sorted URIs of predicted rows since then; of more than ``MAX_BYTES`` in all, the newest."""
    found = [entry for entry in storage.list_details(folder) if entry[2] >= since and _is_of_rows(entry[0])]
    newest, size = list[str](), 0
    for uri, length, _ in sorted(found, key=lambda entry: entry[2], reverse=True):
        size += length
        if size > MAX_BYTES:
            log.warning("%s objects are older than the newest %.0f MB: left out", len(found) - len(newest), size / 1e6)
            break
        newest.append(uri)
    return sorted(newest)


def _is_of_rows(uri: str) -> bool:
    """Return whether an object has rows that were predicted: published ones, or those that ``predict`` wrote."""
    published = uri.startswith(f"{PUBLISHED}/") and uri.endswith(".csv")
    return published or bool(PROBLEM.row_id and re.search(r"/rows(-\d+)?\.parquet$", uri))


def _read_inputs(uri: str) -> Iterator[pd.DataFrame]:
    """Yield the inputs of predicted rows in their types; nothing if they are those of another problem."""
    from include.data.checks import check_inputs
    from include.data.reading import TableError, parse_rows

    columns = [PROBLEM.id, *PROBLEM.inputs]
    if uri.endswith(".parquet"):  # written by predict, from rows that were checked
        if lacking := set(columns).difference(samples.list_columns(uri)):
            log.warning("Left out: %s lacks %s", uri, ", ".join(sorted(lacking)))
        else:
            yield from (rows.reset_index()[columns] for rows in storage.read_batches(uri, columns))
        return
    try:  # pandas alone would read the category 007 as the number 7
        inputs = check_inputs(parse_rows(storage.read_bytes(uri), uri), PROBLEM, uri)
    except TableError as error:
        log.warning("Left out: %s", error)
        return
    note_read(uri, inputs)
    yield inputs


def _draw(tables: Iterable[pd.DataFrame], known: np.ndarray | None) -> pd.DataFrame:
    """Return the rows of tables whose keys are not known (None: all), each once; at most ``MAX_ROWS`` are in memory."""
    import pandas as pd

    from include.data.sampling import draw_rows

    def reduce(parts: list[pd.DataFrame]) -> pd.DataFrame:
        joined = pd.concat(parts, ignore_index=True)
        return draw_rows(joined if known is None else _select_new(joined), MAX_ROWS, PROBLEM)

    parts, waiting, total = list[pd.DataFrame](), 0, 0
    for rows in tables:
        parts.append(rows if known is None else _select_new(rows, known))
        waiting, total = waiting + len(parts[-1]), total + len(rows)
        if waiting > 2 * MAX_ROWS:
            parts = [reduce(parts)]
            waiting = len(parts[0])
    drawn = reduce(parts) if parts else pd.DataFrame(columns=[PROBLEM.id, *PROBLEM.inputs])
    log.info("%d rows, %d of them new and compared", total, len(drawn))
    return drawn.reset_index(drop=True)


def _select_new(rows: pd.DataFrame, known: np.ndarray | None = None) -> pd.DataFrame:
    """Return the rows whose keys are not among the known, sorted ones, each once."""
    import numpy as np
    import pandas as pd

    keys = _hash_rows(rows)
    new = ~pd.Series(keys).duplicated().to_numpy()
    if known is not None and len(known):
        new &= known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] != keys
    return rows[new]


def _hash_rows(rows: pd.DataFrame) -> np.ndarray:
    """Return a number of 64 bits for each row, the same for the same rows."""
    import pandas as pd

    from include.data.identity import describe_rows

    return pd.util.hash_array(describe_rows(rows, PROBLEM).to_numpy(object), categorize=False)
