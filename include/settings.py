"""Connections, buckets, folders and addresses of this installation, which do not depend on the problem."""

import math
import os
from pathlib import Path
from typing import NamedTuple


def read_number(name: str, default: float) -> float:
    """Return a number above 0 from the environment, or the default if the variable is empty or not there.

    :raises ValueError: it is something else
    """
    text = os.environ.get(name) or default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {text!r}: give a number above 0")
    return number


INCLUDE = Path(__file__).parent
PLOTS = INCLUDE / "plots"

MLFLOW_CONN_ID = "mlflow_default"
AWS_CONN_ID = "aws_default"
DATA_BUCKET = "data"
XCOM_BUCKET = "localxcom"

# Larger files of new or labelled rows, and larger requests to the model server, are refused before they are read: a CSV
# file takes up to twelve times as much memory while it is checked.
MAX_FILE = 1_000_000 * read_number("MAX_FILE_MB", 100)  # bytes
MAX_REQUEST = 1_000_000 * read_number("MAX_REQUEST_MB", 10)
MAX_REQUEST_ROWS = math.ceil(read_number("MAX_REQUEST_ROWS", 100_000))
SERVE_SECONDS = read_number("SERVE_SECONDS", 30)  # for an answer of the model server


class Keep(NamedTuple):
    """How long things of a kind are kept.

    :param days: since they were last written
    :param at_least: how many of the newest are kept, however old they are
    """

    days: float
    at_least: int = 0


# What the DAG housekeeping keeps, by kind. Files that wait and labelled files are never deleted.
RETENTION = {
    "xcoms": Keep(30),  # of a run; later its tasks cannot be cleared any more
    "scratch": Keep(7),  # what killed trainings left behind
    "features": Keep(90, 10),
    "evaluations": Keep(90, 10),
    "predictions": Keep(90, 10),  # with their trail and the file that they are for
    "monitoring": Keep(90, 10),
    "requests": Keep(30),  # to the model server, by day
    "logs": Keep(90),
    "rejected": Keep(180),
    "versions": Keep(180, 20),  # of the model; as many former champions
    "runs": Keep(90, 20),  # in MLflow
}

# Whether the model server keeps its requests in S3, and whether the challenger that waits predicts the same rows.
SHADOW = os.environ.get("SERVE_SHADOW") == "1"
REQUEST_LOG = SHADOW or os.environ.get("SERVE_LOG") == "1"

# What a process of a task may allocate at most (bytes), and how many tasks of one DAG fit models or predict at once.
TASK_MEMORY = 1_000_000 * read_number("TASK_MEMORY_MB", 8000)
HEAVY_TASKS = math.ceil(read_number("HEAVY_TASKS", min(os.cpu_count() or 2, 6)))

# Where the environments are kept in which logged models predict; Airflow's home if empty.
MODEL_ENVIRONMENTS = os.environ.get("MODEL_ENVIRONMENTS")

DEFAULT_PORTS = {"S3_PORT": 9000, "MLFLOW_PORT": 5000, "AIRFLOW_PORT": 8080, "SERVE_PORT": 5002}
# With EXECUTOR=celery; not 5432 and 6379, where servers of the operating system listen.
DEFAULT_PORTS |= {"POSTGRES_PORT": 5433, "REDIS_PORT": 6380, "METRICS_PORT": 9464}
# Where the champion is served over HTTP, if it is.
MODEL_SERVER = (
    os.environ.get("MODEL_SERVER") or f"http://127.0.0.1:{os.environ.get('SERVE_PORT', DEFAULT_PORTS['SERVE_PORT'])}"
)

# File with the token that requests to the model server need.
SERVE_TOKEN_FILE = os.environ.get("SERVE_TOKEN_FILE", "")

# The Python of OpenMetadata's connector, and its workflow file.
OPENMETADATA_PYTHON = os.environ.get("OPENMETADATA_PYTHON") or str(
    INCLUDE.parent / ".local" / "envs" / "openmetadata" / "bin" / "python"
)
OPENMETADATA_WORKFLOW = Path(os.environ.get("OPENMETADATA_WORKFLOW") or INCLUDE / "openmetadata" / "mlflow.yaml")
