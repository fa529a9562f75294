"""Comparison within groups: of recent rows with those training rows that are of the same groups."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

CELLS = 10**6  # permuted at a time, to limit memory
TABLES = 9999  # simulated for a p-value
SAME = 1e-12  # distances that differ by less are equal


def match_groups(training: pd.DataFrame, recent: pd.DataFrame, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return weights that give the training rows the mix of the recent ones, and which recent rows have a group there.

    :param groups: categories; each combination of their levels is a group, and a missing level counts as one
    :return: weights of the training rows, which sum to 1 if any group is in both; and booleans of the recent rows
    """
    before, after = _number_groups(training, recent, groups)
    size = max(before.max(initial=0), after.max(initial=0)) + 1
    old, new = np.bincount(before, minlength=size), np.bincount(after, minlength=size)
    weights = (new / np.maximum(old, 1))[before]
    return weights / max(weights.sum(), 1), old[after] > 0


def permute_within(
    training: pd.DataFrame, recent: pd.DataFrame, groups: Sequence[str], names: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """Return statistic and p-value of each column, by permutations of training and recent rows within each group.

    Without drift these are equally likely, however small the groups are. The statistic is the distance of Cramer and
    von Mises (Anderson, 1962, Annals of Mathematical Statistics 33: 1148-1159), or of chi-squared for categories,
    between the recent rows and the training rows in their mix.

    :param training: rows of groups that `recent` has; numbers without NaN, and categories
    :param recent: rows of groups that `training` has
    """
    before, after = _number_groups(training, recent, groups)
    strata, is_recent = np.concatenate([before, after]), np.repeat([False, True], [len(before), len(after)])
    old = -(np.bincount(after) / np.bincount(before))[strata]
    distances = {name: _build_distance(pd.concat([training[name], recent[name]])) for name in names}
    found: dict[str, list[np.ndarray]] = {name: [] for name in distances}
    for labels in _permute(strata, is_recent):
        signed = np.where(labels, 1, old) / len(after)
        for name, distance in distances.items():
            found[name].append(distance(signed))
    return {name: _rank_first(np.concatenate(parts)) for name, parts in found.items()}


def _number_groups(
    training: pd.DataFrame, recent: pd.DataFrame, groups: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    both = pd.concat([training[list(groups)], recent[list(groups)]])
    numbers = both.groupby(list(groups), dropna=False, sort=False).ngroup().to_numpy()
    return numbers[: len(training)], numbers[len(training) :]


def _permute(strata: np.ndarray, is_recent: np.ndarray) -> Iterator[np.ndarray]:
    """Yield which rows are recent (tables x rows): as it is, then after each permutation within the strata."""
    yield is_recent[np.newaxis]
    rng, order = np.random.default_rng(0), np.argsort(strata, kind="stable")
    ordered, back = strata[order], np.argsort(order)
    size = max(CELLS // len(strata), 1)
    for start in range(0, TABLES, size):
        keys = ordered + rng.random((min(size, TABLES - start), len(ordered)))
        yield is_recent[order][np.argsort(keys, axis=1)][:, back]


def _build_distance(column: pd.Series) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from weights (tables x rows), negative for training rows, to each table's distance."""
    is_number = pd.api.types.is_numeric_dtype(column)
    codes, levels = pd.factorize(column, sort=is_number, use_na_sentinel=False)
    order, shares = np.argsort(codes, kind="stable"), np.bincount(codes) / len(codes)
    starts = np.searchsorted(codes[order], np.arange(len(levels)))

    def distance(signed: np.ndarray) -> np.ndarray:
        differences = np.add.reduceat(signed[:, order], starts, axis=1)
        if is_number:
            return np.square(differences.cumsum(axis=1)) @ shares
        return np.square(differences) @ (1 / shares)

    return distance


def _rank_first(distances: np.ndarray) -> tuple[float, float]:
    """Return the first distance, and the share of those that are as large."""
    return float(distances[0]), float((distances >= distances[0] - SAME).mean())
