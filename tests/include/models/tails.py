"""A model that keeps to the pipeline's contract: raw rows in, prediction and interval in cm out."""

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class Tails(PythonModel):
    def predict(self, context, model_input, params=None):
        length = model_input["totlngth"].fillna(87.0) * 0.42
        return pd.DataFrame({"prediction": length, "lower": length - 2.0, "upper": length + 2.0})


mlflow.models.set_model(Tails())
