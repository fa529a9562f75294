"""The split of a table into training and holdout rows."""

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256

import pandas as pd

from include.data.checks import Inspection, Inspector
from include.data.identity import add_identity, base_ids, describe_rows
from include.data.reading import TableError
from include.data.seen import Seen
from include.spec import SPLIT, Problem

MIN_TRAINING = 10  # folds of the prediction intervals
MIN_HOLDOUT = 7  # an RMSE of 7 rows has a relative standard error of 1 / sqrt(14), 27 %; of fewer, more


def select_rows(inspection: Inspection, source: str, problem: Problem) -> pd.DataFrame:
    """Return the rows of an inspected table, split into training and holdout.

    :param source: what the table was read from, for the message
    :return: columns ``problem.id``, ``problem.inputs``, the target and ``_split``
    :raises TableError: the inspection found errors
    """
    raise_errors(inspection, source)
    return add_split(add_identity(inspection.table.reset_index(drop=True), problem), problem)


def select_batches(
    batches: Iterable[pd.DataFrame], inspector: Inspector, source: str, problem: Problem
) -> Iterator[pd.DataFrame]:
    """Check a table that comes in batches, and yield what :func:`select_rows` returns for the whole of it.

    :param inspector: has the results when the last batch was taken, or there are errors
    :raises TableError: all batches were checked, and there are errors
    """
    seen = Seen()
    for batch in batches:
        checked = inspector.add(batch)
        if not inspector.failed:
            yield add_split(add_identity(checked.reset_index(drop=True), problem, seen), problem)
    raise_errors(inspector.finish(), source)


def raise_errors(inspection: Inspection, source: str) -> None:
    """Raise the errors that an inspection found, if any.

    :raises TableError: names all of them
    """
    if errors := inspection.failures("error"):
        raise TableError(f"{source} cannot be used:\n" + "\n".join(errors))


def add_split(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the table with the column ``_split``.

    Rows of one id are on the same side; without an id, exact copies are.
    """
    keys = base_ids(table, problem) if problem.row_id else describe_rows(table, problem)
    table = table.copy()
    table[SPLIT] = split_rows(keys, problem.holdout_share)
    return table


def split_rows(keys: pd.Series, holdout_share: float) -> pd.Series:
    """Split rows by a hash of their key alone: a row keeps its side when others are added.

    :return: ``"train"`` or ``"holdout"`` for each
    """
    return keys.map(_position).lt(holdout_share).map({True: "holdout", False: "train"})


def check_split(batches: Iterable[pd.DataFrame], problem: Problem) -> None:
    """Check that there are rows enough to train and to evaluate.

    :param batches: of the table: columns ``_split`` and the target
    :raises TableError: there are not
    """
    counts = Counter[str]()
    for batch in batches:
        counts.update(batch.loc[batch[problem.target.name].notna(), SPLIT].value_counts().to_dict())
    for side, split, minimum in (("training", "train", MIN_TRAINING), ("holdout", "holdout", MIN_HOLDOUT)):
        if counts[split] < minimum:
            raise TableError(
                f"{counts[split]} {side} rows have a target, {minimum} is the minimum: add rows, or change "
                f"holdout_share ({problem.holdout_share:g}) in include/problem.py"
            )


def select_training(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that a model may learn from: not held out, and with a target."""
    return table[(table[SPLIT] == "train") & table[problem.target.name].notna()]


def select_holdout(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that a model is judged by: held out, and with a target."""
    return table[(table[SPLIT] == "holdout") & table[problem.target.name].notna()]


def _position(key: str) -> float:
    """Place a row evenly in [0, 1)."""
    return int.from_bytes(sha256(key.encode()).digest()[:8]) / 2**64
