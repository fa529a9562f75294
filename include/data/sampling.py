"""Bounded samples of large tables: which rows are drawn.

The rule is fixed: the rows whose hash of the id is smallest. So the same table always gives the same sample, a sample
of a sample is one of the table, and rows that are added replace only as many as their share. The hash is another one
than that of the split.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from include.data.split import select_holdout, select_training
from include.spec import Problem


def draw_rows(rows: pd.DataFrame, most: int, problem: Problem) -> pd.DataFrame:
    """Return all rows, or `most` of them, in their order.

    :param rows: any columns, ``problem.id`` among them
    """
    return rows.iloc[_draw(_hash(rows[problem.id]), most)]


def draw_sample(batches: Iterable[pd.DataFrame], problem: Problem, *, training: int, holdout: int) -> np.ndarray:
    """Return for each row of a table whether it is drawn; rows without a target are not.

    :param batches: of the table, at least one: columns ``problem.id``, the target and ``_split``
    :param training: training rows that are drawn at most
    :param holdout: holdout rows that are drawn at most
    """
    sides, hashes = [], []
    for batch in batches:
        rows, side = batch.reset_index(drop=True), np.zeros(len(batch), dtype=np.int8)
        side[select_training(rows, problem).index] = 1
        side[select_holdout(rows, problem).index] = 2
        sides.append(side)
        hashes.append(_hash(rows[problem.id]))
    side, hashed = np.concatenate(sides), np.concatenate(hashes)
    drawn = np.zeros(len(side), dtype=bool)
    for number, most in ((1, training), (2, holdout)):
        positions = np.flatnonzero(side == number)
        drawn[positions[_draw(hashed[positions], most)]] = True
    return drawn


def _hash(ids: pd.Series) -> np.ndarray:
    """Return a number for each id, evenly spread over those of 64 bits."""
    return pd.util.hash_array(ids.astype(object).to_numpy(), categorize=False)


def _draw(hashes: np.ndarray, most: int) -> np.ndarray:
    """Return the positions of all, or of the `most` smallest hashes, in ascending order."""
    return np.sort(np.argsort(hashes, kind="stable")[:most])
