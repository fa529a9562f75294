"""A model that never ends: with a child, and without ever letting another thread of its process run."""

import os
import re
import subprocess
import sys

import mlflow
from mlflow.pyfunc import PythonModel


class Endless(PythonModel):
    def predict(self, context, model_input, params=None):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("family", os.getpid(), child.pid, flush=True)  # noqa: T201 # the test reads it
        re.match("(a+)+$", "a" * 100 + "b")


mlflow.models.set_model(Endless())
