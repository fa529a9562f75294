"""Animals that the champion met lately and does not know: those predicted, and those measured since."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd
from airflow.sdk.exceptions import AirflowSkipException

from include import config
from include.data.labelled import read_animals
from include.data.table import remove_known
from include.platform import storage
from include.platform.assets import LABELLED, PREDICTIONS

INCOMING = f"{PREDICTIONS.uri.rstrip('/')}/incoming/"
log = logging.getLogger(__name__)


def read_recent_inputs(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the raw rows that were predicted in the last days, each animal once and none that is known.

    A model's own animals, predicted again, say nothing of what it meets now, and an animal predicted twice says no
    more than once.

    :param known: the champion's feature table
    """
    uris = [uri for uri in _recent(PREDICTIONS.uri, days) if _holds_inputs(uri)]
    return _select_news([storage.read_table(uri)[config.RAW] for uri in uris], known)


def read_labelled(known: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the animals whose tail was measured in the last days: raw columns and ``taill`` (cm).

    They are read, cleaned and left out as for training.
    """
    uris = [uri for uri in _recent(LABELLED.uri, days) if uri.endswith(".csv")]
    tables = [read_animals(storage.read_bytes(uri), uri) for uri in uris]
    return _select_news([table[[*config.RAW, config.TARGET]] for table in tables if table is not None], known)


def check_enough(animals: pd.DataFrame, least: float) -> None:
    """Skip the task that asks, if there are too few animals to compare."""
    if len(animals) < least:
        raise AirflowSkipException(f"{len(animals)} new animals are too few to compare: the least is {least:g}")


def _recent(folder: str, days: float) -> list[str]:
    return storage.list_objects(folder, since=datetime.now(UTC) - timedelta(days=days))


def _holds_inputs(uri: str) -> bool:
    return uri.endswith("/possums.parquet") or (uri.startswith(INCOMING) and uri.endswith(".csv"))


def _select_news(tables: Sequence[pd.DataFrame], known: pd.DataFrame) -> pd.DataFrame:
    rows = pd.concat(tables, ignore_index=True) if tables else known[config.RAW].head(0)
    news = remove_known(rows, known)
    log.info("%d objects hold %d rows; %d animals in them are new", len(tables), len(rows), len(news))
    return news.reset_index(drop=True)
