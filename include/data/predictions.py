"""Predictions beside the truth, and beside the rows that they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.config import CASE, SPLIT, TARGET

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = ["lower", "upper"]  # ends of the 90 % prediction interval, cm


def compare(target: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Put predictions beside true tail lengths, animal by animal.

    :param target: columns ``case``, ``taill`` (cm, may be missing) and ``split``
    :param predicted: columns ``prediction``, ``lower`` and ``upper`` (cm), indexed by ``case``; a model without
        intervals gives ``prediction`` alone
    :return: columns ``case``, ``true``, ``predicted``, ``lower``, ``upper`` and ``split``, one row an animal of
        ``target``; the interval is empty where the model gave none
    :raises ValueError: if an animal has no prediction
    """
    merged = attach(target, predicted).rename(columns={TARGET: "true"})
    return merged[[CASE, "true", "predicted", *INTERVAL, SPLIT]]


def attach(rows: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Add the columns ``predicted``, ``lower`` and ``upper`` (cm) to rows.

    :param rows: any columns, ``case`` among them
    :param predicted: as in ``compare``
    :raises ValueError: if an animal has no prediction
    """
    known = predicted.reindex(columns=["prediction", *INTERVAL])
    merged = rows.merge(known, left_on=CASE, right_index=True, how="left", validate="one_to_one")
    missing = merged.loc[merged["prediction"].isna(), CASE].tolist()
    if missing:
        raise ValueError(f"no prediction for animals {missing}: run_prediction left them out")
    return merged.rename(columns={"prediction": "predicted"})
