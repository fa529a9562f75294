"""Libraries that tasks need, imported once in the process that Airflow forks tasks from.

Airflow imports this module by its setting ``mp_forkserver_preload``, on Linux only. Nothing else of this project is
imported, so that edits take effect at once.
"""

import contextlib
import gc
import importlib
import inspect
import warnings

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
    # The task that needs it fails with a message; git cannot be imported where there is no git program.
    # skops looks at every attribute of the modules before it, and the deprecated ones warn.
    with contextlib.suppress(ImportError), warnings.catch_warnings(action="ignore"):
        importlib.import_module(module)

# AWS hooks inspect their caller, which makes Python look up the file of every module: 0.15 s, once.
inspect.stack()
# Freeze these objects: a full garbage collection cost each forked task 0.3 s.
gc.freeze()
