"""Animals whose tails were measured after they had been predicted: files under ``labelled/``, which join the table."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from include.config import CASE, TARGET
from include.data.checks import LABELLED_SCHEMA, inspect
from include.data.table import TableError, parse_rows, remove_known, select_possums
from include.platform.lineage import note_read

log = logging.getLogger(__name__)


def add_labelled(table: pd.DataFrame, files: Mapping[str, bytes]) -> pd.DataFrame:
    """Add the animals of labelled files to a table of possums, each animal once.

    A file that cannot be used is left out, as are animals without a tail length, and those whose number belongs to
    another animal; the log names them. Nothing that is left out stops a run.

    :param table: as :func:`include.data.table.select_possums` returns it
    :param files: content of CSV files by their URIs; they join in the order of their names
    :return: the table with more rows
    """
    for uri, content in sorted(files.items()):
        animals = read_animals(content, uri)
        if animals is None:
            continue
        news = remove_known(animals, table)
        taken = news[CASE].isin(table[CASE])
        if taken.any():
            log.warning("Left out of %s: other animals have the numbers %s", uri, news.loc[taken, CASE].tolist())
        log.info("%s brings %d animals", uri, (~taken).sum())
        table = pd.concat([table, news[~taken]], ignore_index=True)
    return table


def read_animals(content: bytes, uri: str) -> pd.DataFrame | None:
    """Return the animals of a labelled file that have a tail length, cleaned; what was found is in the log.

    :return: as :func:`include.data.table.select_possums`; None if the file cannot be used
    """
    try:
        inspection = inspect(parse_rows(content, uri), LABELLED_SCHEMA)
        animals = select_possums(inspection, uri).dropna(subset=TARGET)
    except TableError as error:
        log.warning("Left out: %s", error)
        return None
    note_read(uri, animals)
    log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s: %s", uri, inspection.report())
    return animals
