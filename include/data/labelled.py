"""Rows whose target was measured after they had been predicted, which join the table."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from include.data.checks import inspect
from include.data.identity import add_identity, describe_rows, distinguish
from include.data.reading import parse_rows
from include.data.schema import MAX_SHOWN
from include.data.split import add_split, select_rows
from include.spec import ROW_HASH, SPLIT, Problem

# What became of a labelled row.
TARGET = "joined: the target of a row that had none"
ROW = "joined: a row that the table did not have"
RENAMED = "joined: under another id, because its own belongs to a row of other inputs"
KNOWN = "left out: the table has it"
CONFLICT = "left out: the table has another target for this id and these inputs"
REPORT = {"file": "str", "outcome": "str", "rows": "int64", "ids": "str"}

log = logging.getLogger(__name__)


def check_labelled(content: bytes, name: str, problem: Problem) -> pd.DataFrame:
    """Return the rows of a labelled file that have a target, checked and repaired; the log has what was found.

    :param name: of the file, for messages
    :return: as :func:`include.data.split.select_rows`
    :raises TableError: the file cannot be used
    """
    inspection = inspect(parse_rows(content, name), problem, labelled=True)
    rows = select_rows(inspection, name, problem).dropna(subset=problem.target.name)
    log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s: %s", name, inspection.report())
    return rows


def add_labelled(
    table: pd.DataFrame, labelled: Mapping[str, pd.DataFrame], problem: Problem
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add labelled files to the table: targets of rows that lack one, and rows that it does not have.

    A row whose id belongs to a row of other inputs is another row, and joins under an id of its own, on the side of the
    split that its own id has.

    :param table: as :func:`include.data.split.select_rows` returns it
    :param labelled: rows as :func:`check_labelled` returns them, by file; they join in the order of the names
    :return: the table, and what became of the rows: columns ``file``, ``outcome``, ``rows`` (count) and ``ids`` (of the
        first hundred)
    """
    reports = [pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in REPORT.items()})]
    for name, rows in sorted(labelled.items()):
        outcome = _judge(table, rows, problem)
        table = _join(table, rows, outcome, problem)
        reports.append(_report(name, rows[problem.id], outcome))
    return table, pd.concat(reports, ignore_index=True)


def _judge(table: pd.DataFrame, rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return what becomes of each row."""
    target = problem.target.name
    measured = table[table[target].notna()]
    known = measured[target].groupby(describe_rows(measured, problem)).first()
    keys = describe_rows(rows, problem)
    missing = ~keys.isin(known.index)
    same = np.isclose(keys.map(known).astype(float), rows[target], rtol=1e-9)
    waits = _name_waiting(table, rows, problem).notna()
    taken = rows[problem.id].isin(table[problem.id]) & (problem.row_id is not None)
    outcomes = np.select(
        [keys.duplicated(), ~missing & same, ~missing, waits, taken], [KNOWN, KNOWN, CONFLICT, TARGET, RENAMED], ROW
    )
    return pd.Series(outcomes, rows.index, dtype=object)


def _name_waiting(table: pd.DataFrame, rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return, for each labelled row, the id that it has in the table if it waits there for its target.

    Without an id, the n-th row of equal inputs is the n-th of the table.
    """
    describe = describe_rows if problem.row_id else (lambda table, _: table[ROW_HASH])
    waiting = table[table[problem.target.name].isna()]
    names = waiting[problem.id].groupby(describe(waiting, problem)).first()
    return describe(rows, problem).map(names)


def _join(table: pd.DataFrame, rows: pd.DataFrame, outcome: pd.Series, problem: Problem) -> pd.DataFrame:
    target = problem.target.name
    named = rows.assign(**{problem.id: _name_waiting(table, rows, problem)})[outcome == TARGET]
    measured = named.set_index(problem.id)[target]
    table = table.assign(**{target: table[target].fillna(table[problem.id].map(measured))})
    others = rows[outcome == RENAMED]
    if len(others):
        others = others.assign(**{problem.id: distinguish(others, problem).astype(rows[problem.id].dtype)})
    return _number_again(pd.concat([table, rows[outcome == ROW], others], ignore_index=True), problem)


def _report(name: str, ids: pd.Series, outcome: pd.Series) -> pd.DataFrame:
    groups = ids.astype(str).groupby(outcome)
    report = pd.DataFrame({"rows": groups.size(), "ids": groups.agg(lambda shown: ", ".join(shown[:MAX_SHOWN]))})
    for kind, count, shown in report.itertuples():
        level = logging.WARNING if kind == CONFLICT else logging.INFO
        log.log(level, "%s: %s rows %s, such as %s", name, count, kind, shown[:100])
    return report.rename_axis("outcome").reset_index().assign(file=name)


def _number_again(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the table with new hashes and split, which depend on the other rows and the target if there are no ids."""
    if problem.row_id:
        return table
    return add_split(add_identity(table.drop(columns=[ROW_HASH, SPLIT]), problem), problem)
