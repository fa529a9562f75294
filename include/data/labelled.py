"""Rows whose target was measured after they had been predicted, which join the table."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from include.data.checks import inspect
from include.data.identity import add_identity, hash_inputs, remove_known
from include.data.reading import TableError, parse_rows
from include.data.split import add_split, select_rows
from include.spec import ROW_HASH, SPLIT, Problem

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
    """Add labelled files to the table: targets of rows that lack one, and rows that it does not have.

    Rows whose id belongs to a row with other inputs or another target are left out, and the log names them.

    :param table: as :func:`include.data.split.select_rows` returns it
    :param labelled: rows as :func:`read_labelled` returns them, by file; they join in the order of the names
    """
    target = problem.target.name
    for name, rows in sorted(labelled.items()):
        new = remove_known(rows, table[table[target].notna()], problem)
        waiting = table[table[target].isna()]
        known = hash_inputs(waiting, problem).set_axis(waiting[problem.id])
        same = new[problem.id].map(known) == hash_inputs(new, problem)
        measured = new[same].set_index(problem.id)[target]
        table = table.copy()
        table.loc[waiting.index, target] = waiting[problem.id].map(measured)
        added = new[~same]
        if problem.row_id:
            taken = added[problem.id].isin(table[problem.id])
            if taken.any():
                ids = added.loc[taken, problem.id].tolist()
                log.warning("Left out of %s: %s rows with the id of another, such as %s", name, len(ids), ids[:5])
            added = added[~taken]
        log.info("%s: %s targets for rows of the table, %s more rows", name, len(measured), len(added))
        table = _number_again(pd.concat([table, added], ignore_index=True), problem)
    return table


def _number_again(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the table with new hashes and split, which depend on the other rows and the target if there are no ids."""
    if problem.row_id:
        return table
    return add_split(add_identity(table.drop(columns=[ROW_HASH, SPLIT]), problem), problem)
