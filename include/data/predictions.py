"""Predictions beside the true values, and beside the rows that they were made from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from include.spec import SPLIT, Problem

INTERVAL = ["lower", "upper"]  # ends of the 90 % prediction interval, in the target's unit


def compare(target: pd.DataFrame, predicted: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Put predictions beside the true values.

    :param target: columns ``problem.id``, the target (may be missing) and ``_split``
    :param predicted: as in :func:`attach`
    :return: columns ``problem.id``, ``true``, ``predicted``, ``lower``, ``upper`` and ``split``, one row for each of
        `target`; the interval is empty where the model gave none
    :raises ValueError: a row has no prediction
    """
    names = {problem.target.name: "true", SPLIT: "split"}
    return attach(target, predicted, problem).rename(columns=names)[
        [problem.id, "true", "predicted", *INTERVAL, "split"]
    ]


def attach(rows: pd.DataFrame, predicted: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Add the columns ``predicted``, ``lower`` and ``upper`` to rows.

    :param rows: any columns, ``problem.id`` among them
    :param predicted: columns ``prediction`` and, of a model with intervals, ``lower`` and ``upper``, indexed by
        ``problem.id``
    :raises ValueError: a row has no finite prediction
    """
    if not predicted.index.is_unique:
        raise ValueError(f"the predictions have the same {problem.id} more than once")
    known = predicted.reindex(index=rows[problem.id], columns=["prediction", *INTERVAL]).astype(float)
    if missing := rows.loc[~np.isfinite(known["prediction"]).to_numpy(), problem.id].tolist():
        raise ValueError(f"{len(missing)} rows have no prediction, such as {problem.id} {', '.join(missing[:5])}")
    return rows.assign(predicted=known["prediction"].to_numpy(), **{end: known[end].to_numpy() for end in INTERVAL})
