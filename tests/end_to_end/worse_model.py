"""A model from code: the longer the animal, the shorter its tail."""

from __future__ import annotations

import mlflow
import pandas as pd


def predict(model_input: pd.DataFrame) -> pd.DataFrame:
    """Return column ``prediction`` (cm), as the project's models do."""
    return pd.DataFrame({"prediction": 126.5 - model_input["totlngth"]}, index=model_input.index)


mlflow.models.set_model(predict)
