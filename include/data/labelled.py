"""Rows whose target was measured after they had been predicted, which join the table."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pandas as pd

from include.data.checks import inspect
from include.data.identity import add_identity, describe_rows, distinguish, hash_inputs
from include.data.reading import parse_rows
from include.data.schema import MAX_SHOWN
from include.data.seen import Seen
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
    read: Callable[[], Iterable[pd.DataFrame]], labelled: Mapping[str, pd.DataFrame], problem: Problem
) -> tuple[Iterator[pd.DataFrame], pd.DataFrame]:
    """Add labelled files to the table: targets of rows that lack one, and rows that it does not have.

    A row whose id belongs to a row of other inputs is another row, and joins under an id of its own, on the side of the
    split that its own id has.

    :param read: returns the table in batches, as :func:`include.data.split.select_batches` yields them; called twice
    :param labelled: rows as :func:`check_labelled` returns them, by file, at least one; they join in the order of the
        names
    :return: the table in batches, and what became of the rows: columns ``file``, ``outcome``, ``rows`` (count) and
        ``ids`` (of the first hundred)
    """
    reports, everything = [no_report()], pd.concat(labelled.values())
    index, measured, joining = _build_index(read(), everything, problem), [everything.head(0)], []
    for name, rows in sorted(labelled.items()):
        keys = describe_rows(rows, problem)
        outcome = _judge(rows, keys, index, problem)
        named = _name_rows(rows, keys, outcome, index, problem)
        reports.append(_report(name, rows[problem.id], outcome))
        _add_to_index(index, named, keys, outcome, problem)
        measured.append(named[outcome == TARGET])
        joining += [named[outcome == ROW], named[outcome == RENAMED]]
    return _join(read(), pd.concat(measured), joining, problem), pd.concat(reports, ignore_index=True)


def no_report() -> pd.DataFrame:
    """Return what became of no rows."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in REPORT.items()})


@dataclass(frozen=True)
class _Index:
    """An index of the table, to find the row that a labelled row belongs to.

    :param known: the target of each row that has one, by its description
    :param waiting: the id of each row without a target, by its key (:func:`_describe_waiting`)
    :param ids: of all rows
    """

    known: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)


def _build_index(batches: Iterable[pd.DataFrame], labelled: pd.DataFrame, problem: Problem) -> _Index:
    """Return the index of the few table rows that share inputs or id with a labelled row."""
    index, inputs, ids = _Index(), hash_inputs(labelled, problem), labelled[problem.id]
    for batch in batches:
        alike = batch[hash_inputs(batch, problem).isin(inputs) | batch[problem.id].isin(ids)]
        keys, target = describe_rows(alike, problem), alike[problem.target.name]
        waiting = alike[target.isna()]
        places = _describe_waiting(waiting, keys[target.isna()], problem)
        index.known.update(zip(keys[target.notna()], target.dropna(), strict=True))
        index.waiting.update(zip(places, waiting[problem.id], strict=True))
        index.ids.update(alike[problem.id])
    return index


def _add_to_index(index: _Index, named: pd.DataFrame, keys: pd.Series, outcome: pd.Series, problem: Problem) -> None:
    """Add the rows of a file that join, under the ids that they have then."""
    joins = outcome.isin([TARGET, ROW, RENAMED])
    index.known.update(zip(keys[joins], named[problem.target.name][joins], strict=True))
    index.ids.update(named[problem.id][joins])


def _describe_waiting(rows: pd.DataFrame, keys: pd.Series, problem: Problem) -> pd.Series:
    """Return the keys of rows without a target: their descriptions; without an id, their numbered hashes."""
    return keys if problem.row_id else rows[ROW_HASH]


def _judge(rows: pd.DataFrame, keys: pd.Series, index: _Index, problem: Problem) -> pd.Series:
    """Return what becomes of each row, by its description in `keys`."""
    # Looked up one by one: map and isin would copy the whole dictionary or set.
    targets = keys.map(index.known.get).astype(float)
    missing = targets.isna()
    same = np.isclose(targets, rows[problem.target.name], rtol=1e-9)
    waits = _describe_waiting(rows, keys, problem).map(index.waiting.__contains__).astype(bool)
    taken = rows[problem.id].map(index.ids.__contains__).astype(bool) & (problem.row_id is not None)
    outcomes = np.select(
        [keys.duplicated(), ~missing & same, ~missing, waits, taken], [KNOWN, KNOWN, CONFLICT, TARGET, RENAMED], ROW
    )
    return pd.Series(outcomes, rows.index, dtype=object)


def _name_rows(
    rows: pd.DataFrame, keys: pd.Series, outcome: pd.Series, index: _Index, problem: Problem
) -> pd.DataFrame:
    """Return the rows of a file under the ids that they have in the table; those that waited do so no longer."""
    ids, renamed = rows[problem.id].copy(), rows[outcome == RENAMED]
    ids.update(_describe_waiting(rows, keys, problem)[outcome == TARGET].map(index.waiting.pop))
    if len(renamed):
        ids.update(distinguish(renamed, problem))
    return rows.assign(**{problem.id: ids})


def _join(
    batches: Iterable[pd.DataFrame], measured: pd.DataFrame, joining: Sequence[pd.DataFrame], problem: Problem
) -> Iterator[pd.DataFrame]:
    """Yield the table with the targets of rows that waited for them, and the rows that join."""
    target, seen = problem.target.name, Seen()
    targets, joined = measured.set_index(problem.id)[target], pd.concat(joining, ignore_index=True)
    for batch in chain(batches, [joined] if len(joined) else []):
        waiting = batch.loc[batch[target].isna(), problem.id]
        filled = batch.assign(**{target: batch[target].fillna(waiting.map(targets))})
        yield _number_again(filled, problem, seen)


def _report(name: str, ids: pd.Series, outcome: pd.Series) -> pd.DataFrame:
    groups = ids.astype(str).groupby(outcome)
    report = pd.DataFrame({"rows": groups.size(), "ids": groups.agg(lambda shown: ", ".join(shown[:MAX_SHOWN]))})
    for kind, count, shown in report.itertuples():
        level = logging.WARNING if kind == CONFLICT else logging.INFO
        log.log(level, "%s: %s rows %s, such as %s", name, count, kind, shown[:100])
    return report.rename_axis("outcome").reset_index().assign(file=name)


def _number_again(rows: pd.DataFrame, problem: Problem, seen: Seen) -> pd.DataFrame:
    """Return the rows with new hashes and split, which depend on other rows and the target if there are no ids."""
    if problem.row_id:
        return rows
    return add_split(add_identity(rows.drop(columns=[ROW_HASH, SPLIT]), problem, seen), problem)
