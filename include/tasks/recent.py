"""The rows that monitoring compares and counts: predicted or labelled recently, and new to the models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.problem import PROBLEM
from include.services import champions, storage
from include.services.assets import PREDICTIONS
from include.services.lineage import note_read
from include.tasks import feature_eng
from include.tasks.predict_incoming import PUBLISHED, REJECTED

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def read_features(uri: str) -> pd.DataFrame:
    """Return the table that the champion was trained on.

    :raises AirflowSkipException: it is gone, or lacks a column that the problem has now
    """
    if not storage.exists(uri):
        raise AirflowSkipException(f"the champion's table {uri} is gone: there is no table to compare with")
    features = storage.read_table(uri)
    if lacking := _lacking(features):
        raise AirflowSkipException(
            f"the champion's table {uri} lacks {', '.join(sorted(lacking))}: comparisons resume with the next champion"
        )
    return features


def read_recent_inputs(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the inputs that were predicted in the last `days`, each row once and none that is in `known`.

    Rows of the champion's table are excluded, because they cannot show drift: those of the same id and inputs. The same
    inputs alone are not enough: where inputs have few different values, only rare rows would remain, which would look
    like drift. Without an id, the rows that ``predict`` reads from the table are left out, and those of ``incoming/``
    all count.

    :param known: the champion's feature table
    """
    uris = [
        uri
        for uri in storage.list_objects(PREDICTIONS.uri, since=_ago(days))
        if (uri.startswith(f"{PUBLISHED}/") and uri.endswith(".csv"))
        or (PROBLEM.row_id and uri.endswith("/rows.parquet"))
    ]
    tables = [table for table in map(_read_inputs, uris) if table is not None]
    return _select_new(tables, known) if PROBLEM.row_id else _concat(tables, known)


def read_recent_labelled(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the rows whose target was measured in the last `days`, checked and repaired as for training.

    :param known: the champion's feature table
    """
    labelled, _ = feature_eng.read_labelled(since=_ago(days))
    return _select_new([*labelled.values()], known[known[PROBLEM.target.name].notna()])


def count_rejected(days: float) -> int:
    """Return how many files were rejected in the last `days`."""
    return sum(uri.endswith(".reason.txt") for uri in storage.list_objects(REJECTED, since=_ago(days)))


def count_new_rows(version: Mapping[str, Any]) -> int:
    """Return how many rows ``feature_eng`` would find now to learn from that a version has not learned from.

    :param version: as MLflow describes it
    :raises TableError: the problem's table cannot be used
    :raises FileNotFoundError: it is missing
    """
    from include.data.identity import remove_known
    from include.data.split import select_training

    rows, known = select_training(feature_eng.build_table(), PROBLEM), champions.read_features(version)
    if known is None or _lacking(known):
        return len(rows)  # the version was trained on another table
    return len(remove_known(rows, select_training(known, PROBLEM), PROBLEM))


def _lacking(features: pd.DataFrame) -> set[str]:
    from include.spec import SPLIT

    return {PROBLEM.id, SPLIT, *PROBLEM.inputs, PROBLEM.target.name}.difference(features)


def _ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _read_inputs(uri: str) -> pd.DataFrame | None:
    """Return the inputs of predicted rows in their types, or None if they are those of another problem."""
    from include.data.checks import check_inputs
    from include.data.reading import TableError, parse_rows

    try:
        rows = parse_rows(storage.read_bytes(uri), uri)  # pandas alone would read the category 007 as the number 7
        inputs = check_inputs(rows, PROBLEM, uri)
    except TableError as error:
        log.warning("Left out: %s", error)
        return None
    note_read(uri, inputs)
    return inputs


def _select_new(tables: Sequence[pd.DataFrame], known: pd.DataFrame) -> pd.DataFrame:
    from include.data.identity import remove_known

    rows = _concat(tables, known)
    new = remove_known(rows, known, PROBLEM).reset_index(drop=True)
    log.info("%d objects have %d rows, %d of them new", len(tables), len(rows), len(new))
    return new


def _concat(tables: Sequence[pd.DataFrame], known: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(tables, ignore_index=True) if tables else known.head(0)
