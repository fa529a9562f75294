"""A model that ends its process with the status that its input says."""

import sys

import mlflow
from mlflow.pyfunc import PythonModel


class Quitter(PythonModel):
    def predict(self, context, model_input, params=None):
        sys.exit(int(model_input["head"].iloc[0]))


mlflow.models.set_model(Quitter())
