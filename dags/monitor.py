"""## Monitoring

Compares what the champion predicts now with what it was trained on: every morning at 6:00 UTC, and when new targets are
uploaded.

1. `find_champion` finds the champion and the rows that it knows, which are excluded.
2. `measure_drift` compares every input of the rows that were predicted recently with the training rows;
   `measure_degradation` compares the error on rows that were labelled recently with the error on the holdout rows. A
   comparison with too few new rows is skipped, and its log says how many there are.
3. `publish_report` logs all numbers and a figure to MLflow as run `Monitoring`.
4. `decide` leads to `no_findings`, or to `alert_team` and `request_retraining`, which triggers **feature_eng**. During
   the cool-down the team is alerted, but no second retraining is requested.

New targets are CSV or Parquet files under `labelled/` in the bucket `data`, with the columns of the problem's table. A
watcher in Airflow's triggerer detects them within seconds.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from include.problem import PROBLEM
from include.services import forms
from include.services.assets import LABELLED, MONITORING, RETRAINING
from include.services.dag_defaults import DAG_DEFAULTS
from include.tasks import monitor as tasks


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=[LABELLED]),
    doc_md=__doc__,
    tags=[PROBLEM.name, "monitoring"],
    params=forms.MONITORING,
    **DAG_DEFAULTS,
)
def monitor() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")
    champion = task(multiple_outputs=False)(tasks.find_champion)()
    drifted = task(multiple_outputs=False)(tasks.measure_drift)(champion)
    degraded = task(multiple_outputs=False)(tasks.measure_degradation)(champion)
    publish = task(
        outlets=[MONITORING],
        inlets=[RETRAINING],
        trigger_rule="none_failed_min_one_success",
        multiple_outputs=False,
    )
    report = publish(tasks.publish_report)(champion, drifted, degraded)
    actions = [
        EmptyOperator(task_id="no_findings"),
        task(tasks.alert_team)(report),
        task(outlets=[RETRAINING])(tasks.request_retraining)(report),
    ]
    start >> champion
    task.branch(tasks.decide)(report) >> actions >> end


monitor()
