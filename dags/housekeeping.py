"""## Housekeeping

Deletes what is old and no longer needed, every Sunday at 3:00 UTC: XComs, tables, predictions, rejected files, versions
of the model, and runs in MLflow. How long each kind is kept is in `RETENTION` in `include/settings.py`.

1. `delete_expired`, once per kind, finds what has expired, and deletes it. With `dry_run` in the form, it only lists.
2. `report` logs how much of each kind that was.

What is never deleted, such as the champion, files that were not processed yet and labelled ones, is in
`docs/operations.md`, and so is how to clean up Airflow's database and logs, which a task cannot reach. Runs in MLflow
are only marked as deleted.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronTriggerTimetable, Param, dag, task

from include.problem import PROBLEM
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import RETENTION
from include.tasks import housekeeping as tasks


@dag(
    schedule=CronTriggerTimetable("0 3 * * 0", timezone="UTC"),
    doc_md=__doc__,
    tags=[PROBLEM.name, "operations"],
    params={"dry_run": Param(False, type="boolean", description="Only list what would be deleted")},
    **DAG_DEFAULTS,
)
def housekeeping() -> None:
    delete_expired = task(map_index_template="{{ task.op_kwargs['kind'] }}", multiple_outputs=False)
    counts = delete_expired(tasks.delete_expired).expand(kind=[*RETENTION])
    report = task(tasks.report)(counts)
    EmptyOperator(task_id="start") >> counts >> report >> EmptyOperator(task_id="end")


housekeeping()
