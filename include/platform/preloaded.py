"""What every task needs, imported once by the process that tasks are forked from, so that each of them starts with it.

Airflow imports this module there, by its setting ``mp_forkserver_preload``, which Linux alone has use for. Of this
project nothing else is imported: an edit counts at once.
"""

import contextlib
import gc
import importlib
import inspect

MODULES = (
    "airflow.executors.local_executor",
    "airflow.providers.amazon.aws.assets.s3",
    "airflow.providers.amazon.aws.fs.s3",
    "airflow.providers.amazon.aws.operators.s3",
    "airflow.providers.common.io.xcom.backend",
    "airflow.providers.openlineage.plugins.listener",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "git",
    "markdown_it",
    "matplotlib.figure",
    "mlflow.pyfunc.scoring_server",
    "mlflow.sklearn",
    "pandera.pandas",
    "pyarrow.dataset",
    "s3fs",
    "skops.io",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "upath.implementations.cloud",
)

for module in MODULES:
    with contextlib.suppress(ImportError):  # a task that needs it says so; git has no use where there is no program
        importlib.import_module(module)

# AWS hooks ask who calls them, which makes Python look up the file of every module: 0.15 s, once.
inspect.stack()
# What is here now stays. A task that made Python look through it again for garbage spent 0.3 s on its first S3 client.
gc.freeze()
