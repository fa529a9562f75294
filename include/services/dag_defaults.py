"""What every DAG of the pipeline shares."""

from datetime import timedelta
from typing import Any

from airflow.sdk.configuration import conf
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.problem import PROBLEM
from include.services.alerts import alert_failure, alert_missed_deadline
from include.services.memory import OutOfMemoryPolicy, limit_memory
from include.settings import AWS_CONN_ID, HEAVY_TASKS, MLFLOW_CONN_ID

# For mapped tasks that fit or predict: of one DAG HEAVY_TASKS run at once, of all DAGs one more, so that a second run
# goes on beside a heavy one. They take as much of the default pool: tasks of a pool of their own would wait forever
# where it was not created.
HEAVY: dict[str, Any] = {
    "max_active_tis_per_dag": HEAVY_TASKS,
    "pool_slots": conf.getint("core", "default_pool_task_slot_count") // (HEAVY_TASKS + 2) + 1,
}
OWNER = f"{PROBLEM.name}-team"


def deadline(limit: timedelta) -> DeadlineAlert:
    """Return a deadline: an alert is sent for a run that has not ended within `limit` of being queued."""
    # The executor would run a SyncCallback, but Airflow 3.3.2 refuses it variables and connections with 403:
    # https://github.com/apache/airflow/pull/71192
    callback = AsyncCallback(alert_missed_deadline, kwargs={"limit": str(limit)})
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=limit, callback=callback)


# One run at a time, because each compares with, or follows, what the one before it has done.
DAG_DEFAULTS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "deadline": deadline(timedelta(hours=1)),
    "default_args": {
        "owner": OWNER,
        # After about 10, 20 and 40 s: together they outlast a minute of a full disk or of a service that is down.
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(minutes=30),
        "on_failure_callback": alert_failure,
        "pre_execute": limit_memory,
        "retry_policy": OutOfMemoryPolicy(),
        "mlflow_conn_id": MLFLOW_CONN_ID,
        "aws_conn_id": AWS_CONN_ID,
    },
}
