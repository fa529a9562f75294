"""## Feature engineering

Reads the table that `include/problem.py` describes, checks it, and turns it into features.

1. `create_buckets_if_not_exists` and `prepare_mlflow_experiment` create S3 buckets and the MLflow experiment, unless
   they exist.
2. `extract_data` reads the table, one file or the files of a folder.
3. `check_data` repairs and checks it, and logs the results to MLflow as run `Data quality`. Then it adds the rows of
   the CSV and Parquet files in `labelled/`, whose target was measured later, and sets the holdout rows aside before
   anything is fitted.
4. `build_features` fits encoder, imputer and scaler on the training rows (of more than `max_training_rows`, a
   sample) and logs them to MLflow as run `Scaler`.
5. `save_data_to_s3` publishes the feature table, which triggers the DAG **train**.

Errors in the table stop the run in `extract_data` or `check_data`; the log names file, row and column. Warnings are
logged, and the run goes on.
"""

from airflow.providers.amazon.aws.operators.s3 import S3CreateBucketOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, dag, task

from include.problem import PROBLEM
from include.services.assets import FEATURES, RETRAINING
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import AWS_CONN_ID, DATA_BUCKET, XCOM_BUCKET
from include.tasks import feature_eng as tasks


@dag(schedule=[RETRAINING], doc_md=__doc__, tags=[PROBLEM.name, "features"], **DAG_DEFAULTS)
def feature_eng() -> None:
    start, end = EmptyOperator(task_id="start"), EmptyOperator(task_id="end")
    create_buckets_if_not_exists = S3CreateBucketOperator.partial(
        task_id="create_buckets_if_not_exists", aws_conn_id=AWS_CONN_ID
    ).expand(bucket_name=[DATA_BUCKET, PROBLEM.artifact_bucket, XCOM_BUCKET])

    with TaskGroup("prepare_mlflow_experiment") as prepare_mlflow_experiment:
        names = task(tasks.list_existing_experiments)()
        experiment_exists = EmptyOperator(task_id="experiment_exists")
        experiment_id = task(trigger_rule="none_failed_min_one_success")(tasks.get_current_experiment_id)()
        check = task.branch(tasks.check_if_experiment_exists)(names)
        check >> [task(tasks.create_experiment)(), experiment_exists] >> experiment_id

    rows = task(tasks.extract_data)()
    checked = task(tasks.check_data)(rows, experiment_id)
    engineered = task(tasks.build_features)(checked, experiment_id)
    saved = task(outlets=[FEATURES])(tasks.save_data_to_s3)(checked, engineered)
    start >> create_buckets_if_not_exists >> [prepare_mlflow_experiment, rows]
    saved >> end


feature_eng()
