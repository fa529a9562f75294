"""## Monitoring

Compares what the champion predicts now with what it was trained on: every morning at 6:00 UTC, and when new targets are
uploaded.

1. `join_files` joins the small files that the model server's log wrote on past days. `find_champion` finds the
   champion.
2. `select_recent` collects the rows that DAGs or the model server predicted recently and the champion does not know;
   `measure_drift` compares every input of them with the training rows.
3. `select_labelled` collects the rows that were labelled recently, `predict_labelled` lets the champion predict them in
   a process of its own, `measure_degradation` compares the errors with those on training rows. A comparison with too
   few new rows is skipped, and its log says how many there are.
4. `compare_shadow` compares the version that waits for a verdict with the champion, on rows that both predicted in the
   model server and whose target was measured.
5. `publish_report` logs all numbers, a report and a figure to MLflow as run `Monitoring`.
6. `decide` leads to `no_findings`, or to `alert_team` and `request_retraining`, which triggers **feature_eng**. No
   retraining is requested without new rows to learn from, or during the cool-down: the alert says why.

New targets are CSV or Parquet files under `labelled/` in the bucket `data`, with the columns of the problem's table, or
with the target and `prediction_id` of a row that the model server predicted. A watcher in Airflow's triggerer detects
them within seconds.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.problem import PROBLEM
from include.services import forms
from include.services.assets import LABELLED, MONITORING, RETRAINING, object_uri
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import monitor as tasks
from include.tasks.served import join_files
from include.tasks.shadow import compare_shadow


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=[LABELLED]),
    doc_md=__doc__,
    tags=[PROBLEM.name, "monitoring"],
    params=forms.MONITORING,
    user_defined_macros={"object_uri": object_uri, "MONITORING": MONITORING},
    **DAG_DEFAULTS,
)
def monitor() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")
    champion = task(multiple_outputs=False)(tasks.find_champion)()
    recent = task(tasks.select_recent)(champion)
    drifted = task(tasks.measure_drift)(champion, recent)
    selected = task(multiple_outputs=False)(tasks.select_labelled)(champion)
    predict_labelled = ModelLoadAndPredictOperator(
        task_id="predict_labelled",
        model_uri="{{ ti.xcom_pull('find_champion')['model_uri'] }}",
        data="{{ ti.xcom_pull('select_labelled')['rows'] }}",
        output_uri="{{ object_uri(MONITORING, run_id, 'predicted.parquet') }}",
        venv_cache_path=MODEL_ENVIRONMENTS,
    )
    degraded = task(multiple_outputs=False)(tasks.measure_degradation)(selected, predict_labelled.output)
    publish = task(
        outlets=[MONITORING],
        inlets=[RETRAINING],
        trigger_rule="none_failed_min_one_success",
        multiple_outputs=False,
    )
    report = publish(tasks.publish_report)(champion, recent, drifted, degraded)
    actions = [
        EmptyOperator(task_id="no_findings"),
        task(tasks.alert_team)(report),
        task(outlets=[RETRAINING])(tasks.request_retraining)(report),
    ]
    start >> task(join_files)() >> champion
    task(multiple_outputs=False)(compare_shadow)(champion) >> end
    selected >> predict_labelled
    task.branch(tasks.decide)(report) >> actions >> end


monitor()
