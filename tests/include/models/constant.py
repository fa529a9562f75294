"""A model with the contract of the pipeline's models, which predicts the same for every row."""

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel


class Constant(PythonModel):
    """Predicts 36, between 34 and 38."""

    def predict(self, context: object, model_input: pd.DataFrame) -> pd.DataFrame:
        """Return ``prediction``, ``lower`` and ``upper``."""
        return pd.DataFrame({"prediction": 36.0, "lower": 34.0, "upper": 38.0}, index=model_input.index)


mlflow.models.set_model(Constant())
