"""Predictions beside the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.config import CASE, SPLIT, TARGET

if TYPE_CHECKING:
    import pandas as pd


def compare(target: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Put predictions beside true tail lengths, animal by animal.

    :param target: columns ``case``, ``taill`` (cm, may be missing) and ``split``
    :param predicted: column ``prediction`` (cm), indexed by ``case``
    :return: columns ``case``, ``true``, ``predicted`` and ``split``, one row an animal of ``target``
    :raises ValueError: if an animal has no prediction
    """
    merged = target.merge(predicted, left_on=CASE, right_index=True, how="left", validate="one_to_one")
    missing = merged.loc[merged["prediction"].isna(), CASE].tolist()
    if missing:
        raise ValueError(f"no prediction for animals {missing}: run_prediction left them out")
    renamed = merged.rename(columns={TARGET: "true", "prediction": "predicted"})
    return renamed[[CASE, "true", "predicted", SPLIT]]
