"""## Feature engineering

Reads the possum table, checks it, and turns it into features.

1. `create_buckets_if_not_exists` and `prepare_mlflow_experiment` make sure that there is a place for
   data, models and runs.
2. `extract_data` reads `include/possum.csv`.
3. `check_data` cleans the table, checks it, and logs what every check found to MLflow as run `Data quality`. Then it
   adds the animals of `labelled/*.csv`, whose tails were measured after they had been predicted, and sets the holdout
   animals aside, before anything is fitted.
4. `build_features` fits encoder, imputer and scaler on the training animals and logs them to MLflow as run `Scaler`.
5. `save_data_to_s3` publishes the feature table, and with it starts the DAG **train**.

A table that cannot be used stops the run in `extract_data` or `check_data`: the log names file, row and column.
A table that is only unusual goes on, with a warning in the log.
"""

from __future__ import annotations

from airflow.providers.amazon.aws.operators.s3 import S3CreateBucketOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, dag, task

from include import config
from include.platform.assets import FEATURES, RETRAINING


@dag(schedule=[RETRAINING], doc_md=__doc__, tags=["possums", "features"], **config.DAG_DEFAULTS)
def feature_eng() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end")

    create_buckets_if_not_exists = S3CreateBucketOperator.partial(
        task_id="create_buckets_if_not_exists", aws_conn_id=config.AWS_CONN_ID
    ).expand(bucket_name=[config.DATA_BUCKET, config.ARTIFACT_BUCKET, config.XCOM_BUCKET])

    with TaskGroup("prepare_mlflow_experiment") as prepare_mlflow_experiment:

        @task
        def list_existing_experiments() -> list[str]:
            from include.mlflow_provider.hooks.client import MLflowClientHook

            return [found["name"] for found in MLflowClientHook("GET", config.MLFLOW_CONN_ID).search_experiments()]

        @task.branch
        def check_if_experiment_exists(names: list[str]) -> str:
            exists = config.EXPERIMENT in names
            return f"prepare_mlflow_experiment.{'experiment_exists' if exists else 'create_experiment'}"

        @task
        def create_experiment() -> str:
            from include.mlflow_provider.hooks.client import MLflowClientHook

            return MLflowClientHook("POST", config.MLFLOW_CONN_ID).create_experiment(config.EXPERIMENT, exist_ok=True)

        @task(trigger_rule="none_failed_min_one_success")
        def get_current_experiment_id() -> str:
            from include.mlflow_provider.hooks.client import MLflowClientHook

            experiment = MLflowClientHook("GET", config.MLFLOW_CONN_ID).get_experiment_by_name(config.EXPERIMENT)
            return experiment["experiment_id"]

        check = check_if_experiment_exists(list_existing_experiments())
        experiment_id = get_current_experiment_id()
        check >> [create_experiment(), EmptyOperator(task_id="experiment_exists")] >> experiment_id

    @task
    def extract_data(run_id: str) -> str:
        from include.tasks import feature_eng as steps

        return steps.extract_data(run_id)

    @task
    def check_data(rows_uri: str, experiment_id: str, run_id: str) -> str:
        from include.tasks import feature_eng as steps

        return steps.check_data(rows_uri, experiment_id, run_id)

    @task
    def build_features(possums_uri: str, experiment_id: str, run_id: str) -> str:
        from include.tasks import feature_eng as steps

        return steps.build_features(possums_uri, experiment_id, run_id)

    @task(outlets=[FEATURES])
    def save_data_to_s3(possums_uri: str, engineered_uri: str, run_id: str, outlet_events: dict) -> str:
        from include.tasks import feature_eng as steps

        uri = steps.save_data_to_s3(possums_uri, engineered_uri, run_id)
        outlet_events[FEATURES].extra = {"uri": uri}
        return uri

    rows_uri = extract_data()
    possums_uri = check_data(rows_uri, experiment_id)
    start >> create_buckets_if_not_exists >> [prepare_mlflow_experiment, rows_uri]
    save_data_to_s3(possums_uri, build_features(possums_uri, experiment_id)) >> end


feature_eng()
