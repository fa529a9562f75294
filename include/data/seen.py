"""The keys of rows that came before, for tables that come in batches."""

import numpy as np
import pandas as pd


class Seen:
    """Keys of 64 bits with the row that each came with, in 16 bytes a row.

    They are kept in sorted runs, of which two are merged when the later is as long: finding and adding n keys in all
    takes O(n log n). Keys are hashes: that two of ten million rows share one by chance has a probability of 3e-6.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Add keys, each with the number of its row; rows ascend from one call to the next."""
        if not len(keys):
            return
        run = _sort(keys, rows)
        while self._runs and len(self._runs[-1][0]) <= len(run[0]):
            keys, rows = self._runs.pop()
            run = _sort(np.concatenate([keys, run[0]]), np.concatenate([rows, run[1]]))
        self._runs.append(run)

    def count(self, keys: np.ndarray) -> np.ndarray:
        """Return how often each key was added."""
        counts = np.zeros(len(keys), dtype=np.int64)
        for run, _ in self._runs:
            counts += np.searchsorted(run, keys, "right") - np.searchsorted(run, keys, "left")
        return counts

    def first(self, keys: np.ndarray) -> np.ndarray:
        """Return the row with which each key was added first; -1 if it was not."""
        found = np.full(len(keys), -1)
        for run, rows in self._runs:
            places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            new = (found < 0) & (run[places] == keys)
            found[new] = rows[places[new]]
        return found


def _sort(keys: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys, kind="stable")
    return keys[order], rows[order]


def hash_cells(rows: pd.DataFrame) -> np.ndarray:
    """Return a hash for each row, which equal rows share: of numbers as floats and of everything else as it is."""
    numbers = rows.select_dtypes("number").astype(float) + 0.0  # -0.0 is 0.0
    return pd.util.hash_pandas_object(rows.assign(**numbers), index=False).to_numpy()
