"""The split of a table into training and holdout rows."""

from __future__ import annotations

from hashlib import sha256

import pandas as pd

from include.data.checks import Inspection
from include.data.identity import add_identity
from include.data.reading import TableError
from include.spec import SPLIT, Problem


def select_rows(inspection: Inspection, source: str, problem: Problem) -> pd.DataFrame:
    """Return the rows of an inspected table, split into training and holdout.

    :param source: what the table was read from, for the message
    :return: columns ``problem.id``, ``problem.inputs``, the target and ``_split``
    :raises TableError: the inspection found errors
    """
    if errors := inspection.failures("error"):
        raise TableError(f"{source} cannot be used:\n" + "\n".join(errors))
    table = add_identity(inspection.table.reset_index(drop=True), problem)
    return table.assign(**{SPLIT: split_rows(table[problem.id], problem.holdout_share)})


def split_rows(ids: pd.Series, holdout_share: float) -> pd.Series:
    """Split rows by a hash of their identity alone: a row keeps its side when others are added.

    :return: ``"train"`` or ``"holdout"`` for each
    """
    return ids.map(_position).lt(holdout_share).map({True: "holdout", False: "train"})


def select_training(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that a model may learn from: not held out, and with a target."""
    return table[(table[SPLIT] == "train") & table[problem.target.name].notna()]


def select_holdout(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that a model is judged by: held out, and with a target."""
    return table[(table[SPLIT] == "holdout") & table[problem.target.name].notna()]


def _position(identity: str) -> float:
    """Place a row evenly in [0, 1)."""
    return int.from_bytes(sha256(identity.encode()).digest()[:8]) / 2**64
