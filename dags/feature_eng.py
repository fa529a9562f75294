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

import logging

from airflow.providers.amazon.aws.operators.s3 import S3CreateBucketOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, dag, task

from include import config
from include.assets import FEATURES, LABELLED, RETRAINING, object_uri

log = logging.getLogger(__name__)


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
        from airflow.sdk.exceptions import AirflowFailException

        from include.data.possums import TableError, read_rows
        from include.lineage.notes import note_read
        from include.storage import write_table

        try:
            rows = read_rows(config.POSSUM_CSV)
        except TableError as error:  # trying again would read the same table
            raise AirflowFailException(str(error)) from error
        note_read(str(config.POSSUM_CSV), rows)
        return write_table(rows, object_uri(FEATURES, run_id, "raw.parquet"))

    @task
    def check_data(rows_uri: str, experiment_id: str, run_id: str) -> str:
        from airflow.sdk.exceptions import AirflowFailException

        from include import storage, tracking
        from include.data import possums, quality
        from include.data.labelled import add_labelled
        from include.lineage.notes import note_read

        inspection = quality.inspect(storage.read_table(rows_uri))
        tracking.log_quality(inspection, experiment_id)
        log.log(logging.INFO if inspection.is_clean else logging.WARNING, "%s", inspection.report())
        try:
            table = possums.select_possums(inspection, config.POSSUM_CSV)
        except possums.TableError as error:  # trying again would find the same faults
            raise AirflowFailException(str(error)) from error
        measured = {uri: storage.read_bytes(uri) for uri in storage.list_objects(LABELLED.uri) if uri.endswith(".csv")}
        table = add_labelled(table, measured)
        for uri in measured:
            note_read(uri)
        return storage.write_table(table, object_uri(FEATURES, run_id, "possum.parquet"))

    @task
    def build_features(possums_uri: str, experiment_id: str, run_id: str) -> str:
        from include import storage, tracking
        from include.data import features
        from include.data.possums import select_training

        possums = storage.read_table(possums_uri)
        training = select_training(possums)[config.RAW]
        transformer = features.build_transformer().fit(training)
        tracking.log_transformer(transformer, training, experiment_id)
        engineered = features.compute_features(possums, transformer)
        return storage.write_table(engineered, object_uri(FEATURES, run_id, "engineered.parquet"))

    @task(outlets=[FEATURES])
    def save_data_to_s3(possums_uri: str, engineered_uri: str, run_id: str, outlet_events: dict) -> str:
        from include.storage import read_table, write_table

        table = read_table(possums_uri).join(read_table(engineered_uri))
        uri = write_table(table, object_uri(FEATURES, run_id, "features.parquet"))
        outlet_events[FEATURES].extra = {"uri": uri}
        return uri

    rows_uri = extract_data()
    possums_uri = check_data(rows_uri, experiment_id)
    start >> create_buckets_if_not_exists >> [prepare_mlflow_experiment, rows_uri]
    save_data_to_s3(possums_uri, build_features(possums_uri, experiment_id)) >> end


feature_eng()
