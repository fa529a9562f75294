"""A model from code that predicts the same for every row: ``prediction`` of its configuration."""

import mlflow
import pandas as pd

CONFIG = mlflow.models.ModelConfig(development_config={"prediction": 0.0})


def predict(model_input: pd.DataFrame) -> pd.DataFrame:
    """Return the column ``prediction``, as the project's models do."""
    return pd.DataFrame({"prediction": float(CONFIG.get("prediction"))}, index=model_input.index)


mlflow.models.set_model(predict)
