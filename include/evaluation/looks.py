"""What earlier evaluations on the same rows mean for the next one.

Rows that many versions were judged by no longer say how good the best of them is: it is the best on these rows by
chance too. So the looks at a *slice* of the holdout are counted, each may promote a worse model with a smaller
probability than the one before, and a new slice begins when there are as many rows that no version was judged by.
Source: Dwork et al. (2015), The reusable holdout, Science 349: 636-638; Blum and Hardt (2015), The Ladder, ICML.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from include.evaluation.scores import MIN_ROWS
from include.spec import Problem

DIGITS = 6  # significant ones of the range of predictions: smaller differences are rounding


def spend(confidence: float, look: int) -> float:
    """Return the probability with which a look may promote a worse model: ``(1 - confidence) / (k * (k + 1))``.

    The probabilities of all looks add up to ``1 - confidence``, however many there are, and so bound the probability
    that any of them does (Bonferroni's inequality).
    """
    return (1 - confidence) / (look * (look + 1))


def select_slice(rows: pd.DataFrame, slices: Sequence[pd.Series], problem: Problem) -> tuple[pd.DataFrame, bool]:
    """Return the rows to judge by, and whether they are a new slice.

    A new slice has only rows of no earlier one, and begins when there are as many of them as are left of the newest
    slice. Rows are distinguished by id alone: after a change of units they are still the same rows.

    :param rows: held out, with a target, and not in the training rows of any model that is compared
    :param slices: ids of the rows of the earlier slices, the oldest first
    :return: possibly fewer than ``MIN_ROWS``
    """
    used = [rows[problem.id].isin(ids) for ids in slices]
    fresh = rows[~np.logical_or.reduce(used)] if used else rows
    left = rows[used[-1]] if used else rows.head(0)
    if len(fresh) >= max(len(left), MIN_ROWS):
        return fresh.reset_index(drop=True), True
    return (left if used else rows).reset_index(drop=True), False


def fingerprint(predictions: pd.Series) -> str:
    """Return 16 hexadecimal digits, equal for predictions of the same rows that differ by less than rounding."""
    values = predictions.to_numpy(float)
    scale = np.ptp(values) or np.abs(values).max() or 1.0
    step = 10.0 ** (np.floor(np.log10(scale)) - DIGITS + 1)
    return sha256(",".join(f"{count:.0f}" for count in np.rint(values / step) + 0.0).encode()).hexdigest()[:16]


def are_same(predictions: pd.Series, others: pd.Series) -> bool:
    """Return whether two models predict the same, up to rounding."""
    one, other = predictions.to_numpy(float), others.to_numpy(float)
    return bool(np.abs(one - other).max() <= 10.0**-DIGITS * max(np.ptp(one), np.ptp(other)))


def count_look(predictions: str, earlier: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of a look, from 1: that of a version with the same predictions, or the next one.

    :param predictions: fingerprint
    :param earlier: the tags ``evaluation`` of the versions that were judged on this slice
    """
    looks = {found["predictions"]: found["look"] for found in earlier}
    return int(looks.get(predictions, max(looks.values(), default=0) + 1))


def recorded_errors(earlier: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the RMSE of each version when it was first measured on a slice.

    :param earlier: as for :func:`count_look`, each with its ``version``
    """
    errors: dict[str, float] = {}
    for found in sorted(earlier, key=lambda found: found["look"]):
        errors.setdefault(found["version"], found["rmse"])
        if found["champion"]:
            errors.setdefault(found["champion"], found["champion_rmse"])
    return errors


def best_champion(earlier: Iterable[Mapping[str, Any]], champions: Collection[str], champion: str, version: str) -> str:
    """Return the version with the smallest RMSE recorded on a slice among those that have been champion.

    :param earlier: as for :func:`recorded_errors`
    :param champions: versions that have been champion and may be again
    :param champion: the present one
    :param version: the challenger
    :return: empty if no other version is better than the present champion
    """
    errors = recorded_errors(earlier)
    others = {name: errors[name] for name in champions if name in errors and name not in (champion, version)}
    best = min(others, key=lambda name: others[name], default="")
    return best if best and others[best] < errors.get(champion, inf) else ""
