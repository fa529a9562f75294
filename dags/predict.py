"""## Prediction

Predicts the tail length of every animal with the *champion*, with 90 % intervals, and draws the result.

1. `fetch_feature_df_no_target` and `fetch_target` pick up what the other DAGs left; `fetch_model_run_id` looks which
   version is the champion, for the whole run. As long as there is none, it is the version just trained: the log
   warns, and event and picture say so.
2. `add_line_to_file` makes sure that the model's `requirements.txt` names what predicting from S3 needs.
3. `run_prediction` loads the model in an environment built from those requirements, and kept for the next run.
4. `plot_predictions` draws `possum_tails.png`; `save_predictions` publishes `possum_tail_length.csv` and leaves a
   trail beside it: `make trace FILE=s3://...` follows it back to version, run, data and commit.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task

from include import config
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.platform.assets import MODEL_EVALUATED, PREDICTIONS, latest_extra, object_uri


@dag(
    schedule=[MODEL_EVALUATED],
    doc_md=__doc__,
    tags=["possums", "predictions"],
    user_defined_macros={"object_uri": object_uri, "PREDICTIONS": PREDICTIONS},
    **config.DAG_DEFAULTS,
)
def predict() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end")

    @task(inlets=[MODEL_EVALUATED])
    def fetch_feature_df_no_target(run_id: str, triggering_asset_events: dict, inlet_events: dict) -> str:
        from include.platform import storage

        evaluated = latest_extra(MODEL_EVALUATED, triggering_asset_events, inlet_events)
        rows = storage.read_table(evaluated["features_uri"]).set_index(config.CASE)[config.RAW]
        return storage.write_table(rows, object_uri(PREDICTIONS, run_id, "possums.parquet"), index=True)

    @task(inlets=[MODEL_EVALUATED])
    def fetch_target(run_id: str, triggering_asset_events: dict, inlet_events: dict) -> str:
        from include.platform import storage

        evaluated = latest_extra(MODEL_EVALUATED, triggering_asset_events, inlet_events)
        target = storage.read_table(evaluated["features_uri"])[[config.CASE, config.TARGET, config.SPLIT]]
        return storage.write_table(target, object_uri(PREDICTIONS, run_id, "target.parquet"))

    @task(inlets=[MODEL_EVALUATED])
    def fetch_model_run_id(triggering_asset_events: dict, inlet_events: dict) -> dict[str, str]:
        from include.mlflow_provider.hooks.client import MLflowClientHook
        from include.platform.versions import pin_version

        evaluated = latest_extra(MODEL_EVALUATED, triggering_asset_events, inlet_events)
        return pin_version(MLflowClientHook("GET", config.MLFLOW_CONN_ID), otherwise=evaluated["version"])

    @task
    def add_line_to_file(version: str) -> str:
        from include.tasks.requirements import complete_requirements

        return complete_requirements(version, ["boto3", "pandas"])

    run_prediction = ModelLoadAndPredictOperator(
        task_id="run_prediction",
        model_uri="{{ ti.xcom_pull('fetch_model_run_id')['uri'] }}",
        data="{{ ti.xcom_pull('fetch_feature_df_no_target') }}",
        output_uri="{{ object_uri(PREDICTIONS, run_id, 'predicted.parquet') }}",
        venv_cache_path=config.MODEL_ENVIRONMENTS,
    )

    @task
    def plot_predictions(target_uri: str, predicted_uri: str, model: dict[str, str], run_id: str) -> str:
        from include.charts import predictions as plots
        from include.charts import style as plot_style
        from include.data import predictions
        from include.platform import storage, tracking
        from include.platform.versions import describe

        compared = predictions.compare(storage.read_table(target_uri), storage.read_table(predicted_uri))
        by = describe(model["version"], model["alias"])
        picture = plot_style.render(plots.plot_tail_lengths(compared, config.POSSUM_PICTURE, by))
        config.PLOT.parent.mkdir(exist_ok=True)
        config.PLOT.unlink(missing_ok=True)  # with Docker and without, it belongs to different users
        config.PLOT.write_bytes(picture)
        tracking.log_files({config.PLOT.name: picture}, model["run_id"])
        return storage.write_bytes(picture, object_uri(PREDICTIONS, run_id, config.PLOT.name))

    @task(outlets=[PREDICTIONS])
    def save_predictions(
        target_uri: str, predicted_uri: str, rows_uri: str, model: dict[str, str], run_id: str, outlet_events: dict
    ) -> str:
        from include.data import predictions
        from include.platform import storage, trace

        compared = predictions.compare(storage.read_table(target_uri), storage.read_table(predicted_uri))
        uri = storage.write_table(compared, object_uri(PREDICTIONS, run_id, "possum_tail_length.csv"))
        trace.leave_trail(uri, model, rows_uri)
        outlet_events[PREDICTIONS].extra = {"uri": uri, "version": model["version"], "alias": model["alias"]}
        return uri

    rows_uri, target_uri, model = fetch_feature_df_no_target(), fetch_target(), fetch_model_run_id()
    start >> [rows_uri, target_uri, model]
    [add_line_to_file(model["version"]), rows_uri] >> run_prediction
    predicted_uri = run_prediction.output
    [
        plot_predictions(target_uri, predicted_uri, model),
        save_predictions(target_uri, predicted_uri, rows_uri, model),
    ] >> end


predict()
