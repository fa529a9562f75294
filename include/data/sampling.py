"""Bounded samples of large tables: which rows are drawn.

The rows with the smallest hash of the id are drawn. So the same table always gives the same sample, a sample of a
sample is one of the table, and added rows replace only their share. The split uses another hash.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from include.data.split import select_holdout, select_training
from include.spec import Problem


def draw_rows(rows: pd.DataFrame, most: int, problem: Problem) -> pd.DataFrame:
    """Return all rows, or `most` of them, in their order; they have the column ``problem.id``."""
    return rows.iloc[_draw(_hash(rows[problem.id]), most)]


def draw_sample(
    batches: Iterable[pd.DataFrame],
    problem: Problem,
    *,
    training: int,
    holdout: int,
    slices: Sequence[pd.Series] = (),
) -> np.ndarray:
    """Return for each row of a table whether it is drawn; rows without a target are not.

    :param batches: of the table, at least one: columns ``problem.id``, the target and ``_split``
    :param training: training rows that are drawn at most
    :param holdout: holdout rows that are drawn at most, or as many beside those of the newest slice
    :param slices: ids of holdout rows that were drawn before, the oldest first: if there are too many rows, those of
        the newest slice stay, and rows of no slice come at the rate at which that was drawn
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
    learned, held_out = np.flatnonzero(side == 1), np.flatnonzero(side == 2)
    drawn[learned[_draw(hashed[learned], training)]] = True
    drawn[held_out[_draw_beside(hashed[held_out], holdout, slices)]] = True
    return drawn


def _draw_beside(hashes: np.ndarray, most: int, slices: Sequence[pd.Series]) -> np.ndarray:
    if len(hashes) <= most or not slices:
        return _draw(hashes, most)
    used = [np.isin(hashes, _hash(ids)) for ids in slices]
    kept, fresh = np.flatnonzero(used[-1]), np.flatnonzero(~np.logical_or.reduce(used))
    kept = kept[_draw(hashes[kept], most)]
    if len(kept):  # their largest hash is the share of all rows that they were drawn as
        fresh = fresh[hashes[fresh] <= hashes[kept].max()]
    return np.union1d(kept, fresh[_draw(hashes[fresh], most)])


def _hash(ids: pd.Series) -> np.ndarray:
    """Return a number for each id, evenly spread over those of 64 bits."""
    return pd.util.hash_array(ids.astype(object).to_numpy(), categorize=False)


def _draw(hashes: np.ndarray, most: int) -> np.ndarray:
    """Return the positions of all, or of the `most` smallest hashes, in ascending order."""
    return np.sort(np.argsort(hashes, kind="stable")[:most])
