"""Rows whose target was measured after they had been predicted, which join the table."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from include.data.checks import inspect
from include.data.identity import remove_known
from include.data.reading import TableError, parse_rows
from include.data.split import select_rows
from include.spec import Problem

log = logging.getLogger(__name__)


def read_labelled(content: bytes, name: str, problem: Problem) -> pd.DataFrame | None:
    """Return the rows of a labelled file that have a target, checked and repaired; the log has what was found.

    :param name: of the file, for messages
    :return: as :func:`include.data.split.select_rows`; None if the file cannot be used
    """
    try:
        inspection = inspect(parse_rows(content, name), problem, labelled=True)
        rows = select_rows(inspection, name, problem).dropna(subset=problem.target.name)
    except TableError as error:
        log.warning("Left out: %s", error)
        return None
    log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s: %s", name, inspection.report())
    return rows


def add_labelled(table: pd.DataFrame, labelled: Mapping[str, pd.DataFrame], problem: Problem) -> pd.DataFrame:
    """Add the rows of labelled files to the table, each row once.

    Rows whose id belongs to another row are left out, and the log names them.

    :param table: as :func:`include.data.split.select_rows` returns it
    :param labelled: rows as :func:`read_labelled` returns them, by file; they join in the order of the names
    """
    for name, rows in sorted(labelled.items()):
        new = remove_known(rows, table, problem)
        taken = new[problem.id].isin(table[problem.id])
        if taken.any():
            ids = new.loc[taken, problem.id].tolist()
            log.warning("Left out of %s: %s rows with the id of another, such as %s", name, len(ids), ids[:5])
        log.info("%s adds %s rows", name, (~taken).sum())
        table = pd.concat([table, new[~taken]], ignore_index=True)
    return table
