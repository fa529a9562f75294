"""## Prediction of new possums

Predicts the tail lengths of possums that somebody put as a CSV file into the folder `incoming/` of bucket `data`:
the columns of `include/possum.csv`, without the tail length. A watcher in Airflow's triggerer sees it within seconds.

1. `claim_files` takes every file that lies there, and what an earlier run did not finish.
2. `choose_model` looks which version is the champion, for the whole run.
3. `predict_file`, once a file: `check_rows` puts a file that cannot be used into `rejected/`, with the reason beside
   it; `run_prediction` predicts the others, and `save_predictions` writes them to `predictions/incoming/`, with 90 %
   intervals, and moves the file to `processed/`.

Each upload is predicted once: files keep apart by time of upload and content, not by name alone.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task, task_group

from include import config
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.platform.assets import INCOMING, PREDICTIONS, object_uri


@dag(
    schedule=[INCOMING],
    doc_md=__doc__,
    tags=["possums", "predictions"],
    user_defined_macros={"object_uri": object_uri, "PREDICTIONS": PREDICTIONS},
    **config.DAG_DEFAULTS,
)
def predict_incoming() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")

    @task
    def claim_files() -> list[str]:
        from include.tasks import predict_incoming as incoming

        return incoming.claim_files()

    @task
    def choose_model() -> dict[str, str]:
        from include.mlflow_provider.hooks.client import MLflowClientHook
        from include.platform.versions import pin_version

        return pin_version(MLflowClientHook("GET", config.MLFLOW_CONN_ID))

    @task_group
    def predict_file(upload: str, model: dict[str, str]) -> None:
        @task(map_index_template="{{ task.op_kwargs['upload'].rpartition('/')[2] }}")
        def check_rows(upload: str, run_id: str) -> str:
            from airflow.sdk.exceptions import AirflowSkipException

            from include.data.table import TableError
            from include.platform import storage
            from include.tasks import predict_incoming as incoming

            if not storage.exists(upload):
                raise AirflowSkipException(f"{upload} was done with before")
            try:
                rows = incoming.read_rows(upload)
            except TableError as error:
                raise AirflowSkipException(f"Moved to {incoming.reject(upload, str(error))}: {error}") from error
            uri = object_uri(PREDICTIONS, run_id, f"{upload.rpartition('/')[2]}.parquet")
            return storage.write_table(rows.set_index(config.CASE), uri, index=True)

        rows_uri = check_rows(upload=upload)
        run_prediction = ModelLoadAndPredictOperator(
            task_id="run_prediction",
            map_index_template="{{ task.data.rpartition('/')[2].removesuffix('.parquet') }}",
            model_uri=model["uri"],
            data=rows_uri,
            output_uri="{{ object_uri(PREDICTIONS, run_id, 'predicted-' ~ ti.map_index ~ '.parquet') }}",
            venv_cache_path=config.MODEL_ENVIRONMENTS,
        )

        @task(outlets=[PREDICTIONS], map_index_template="{{ task.op_kwargs['upload'].rpartition('/')[2] }}")
        def save_predictions(
            upload: str, rows_uri: str, predicted_uri: str, model: dict[str, str], outlet_events: dict
        ) -> str:
            from airflow.sdk.exceptions import AirflowSkipException

            from include.data import predictions
            from include.platform import storage
            from include.tasks import predict_incoming as incoming

            if not storage.exists(upload):
                raise AirflowSkipException(f"{upload} was done with before")
            rows = storage.read_table(rows_uri).reset_index()
            predicted = predictions.attach(rows, storage.read_table(predicted_uri))
            uri = incoming.finish(upload, predicted, model)
            outlet_events[PREDICTIONS].extra = {"uri": uri, "version": model["version"], "alias": model["alias"]}
            return uri

        save_predictions(upload=upload, rows_uri=rows_uri, predicted_uri=run_prediction.output, model=model)

    files, model = claim_files(), choose_model()
    start >> [files, model]
    predict_file.partial(model=model).expand(upload=files) >> end


predict_incoming()
