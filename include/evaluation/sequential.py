"""A sequential comparison of two models on rows whose targets arrive one after the other.

The first look is at ``FIRST`` rows, each further one at twice as many as the one before. Look k may be wrong with a
probability of ``(1 - confidence) / (k * (k + 1))`` on each side (:func:`include.evaluation.looks.spend`): over all
looks, however many, the better model is called worse with a probability of at most ``1 - confidence``. The test of one
look is that of :mod:`include.evaluation.intervals`: all subsets of the rows. Error rates are in docs/monitoring.md.
"""

from typing import Any

import numpy as np

from include.evaluation.intervals import limit_ratio, share_of_subsets
from include.evaluation.looks import spend

FIRST = 32  # rows
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


def count_looks(rows: int) -> int:
    """Return how many looks are due when this many rows have a target."""
    return max(0, int(rows // FIRST).bit_length())


def decide(challenger: np.ndarray, champion: np.ndarray, confidence: float, look: int) -> np.ndarray:
    """Return the verdict on the challenger at one look.

    :param challenger: errors of the same rows as the champion's, along the last axis; further axes are comparisons
    :param look: its number, from 1; each may be used once
    """
    alpha, differences = spend(confidence, look), np.square(challenger) - np.square(champion)
    better, worse = (share_of_subsets(sign * differences) <= alpha for sign in (1, -1))
    return np.select([better, worse], [BETTER, WORSE], UNDECIDED)


def compare(challenger: Any, champion: Any, confidence: float) -> dict[str, Any]:
    """Compare two models at the look that is due.

    :param challenger: errors, one per row, at least ``FIRST``
    :param champion: those of the other model for the same rows
    :return: ``verdict``, ``look``, ``rows``, and the ``ratio`` of the two RMSEs with its interval, ``low`` to ``high``
    """
    errors = np.asarray(challenger, float), np.asarray(champion, float)
    look = count_looks(len(errors[0]))
    alpha = spend(confidence, look)
    rmses = [float(np.sqrt(np.mean(np.square(error)))) for error in errors]
    return {
        "verdict": str(decide(*errors, confidence, look)),
        "look": look,
        "rows": len(errors[0]),
        "ratio": rmses[0] / rmses[1] if rmses[1] else np.inf,
        "low": limit_ratio(*errors, 1 - alpha),
        "high": limit_ratio(*errors, alpha),
    }
