"""Runs one prediction in a process of its own, as Airflow does; its arguments are the operator's, as JSON."""

import json
import signal
import sys
from types import SimpleNamespace

from airflow.sdk import DAG

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator

with DAG("predictions", schedule=None):
    operator = ModelLoadAndPredictOperator(task_id="predict", **json.loads(sys.argv[1]))
# What airflow.sdk.execution_time.task_runner does.
signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
result = operator.execute({"ti": SimpleNamespace(bundle_instance=None)})
print("result", json.dumps(result))  # noqa: T201 # the test reads it
