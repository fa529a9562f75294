"""## Prediction

Predicts every row with the *champion*, with 90 % prediction intervals, and draws the result.

1. `fetch_model_run_id` finds the champion and the table of the newest version, once for the whole run. As long as there
   is no champion, the version of the newest evaluation predicts; log, event and figure say so.
   `fetch_feature_df_no_target` and `fetch_target` read the rows, of a large table in parts of 500,000.
2. `add_line_to_file` makes sure that the model's `requirements.txt` names what reading from S3 needs.
3. `run_prediction`, once per part, loads the model in an environment built from those requirements, which is kept for
   later runs.
4. `plot_predictions` draws the figure; `save_predictions` publishes the predictions as a CSV file and writes an audit
   trail beside it: `make trace FILE=s3://...` follows it to version, run, data and commit.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.problem import PROBLEM
from include.services.assets import MODEL_EVALUATED, PREDICTIONS
from include.services.dag_defaults import DAG_DEFAULTS, HEAVY
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import predict as tasks


@dag(schedule=[MODEL_EVALUATED], doc_md=__doc__, tags=[PROBLEM.name, "predictions"], **DAG_DEFAULTS)
def predict() -> None:
    start, end = EmptyOperator(task_id="start"), EmptyOperator(task_id="end")
    model = task(inlets=[MODEL_EVALUATED])(tasks.fetch_model_run_id)()
    parts = task(tasks.fetch_feature_df_no_target)(model["features_uri"])
    targets = task(tasks.fetch_target)(model["features_uri"])
    run_prediction = ModelLoadAndPredictOperator.partial(
        task_id="run_prediction",
        model_uri="{{ ti.xcom_pull('fetch_model_run_id')['uri'] }}",
        venv_cache_path=MODEL_ENVIRONMENTS,
        map_index_template="{{ task.data.rpartition('/')[2].removesuffix('.parquet') }}",
        **HEAVY,
    ).expand_kwargs(parts)
    predicted = run_prediction.output
    plotted = task(tasks.plot_predictions)(targets, predicted, model)
    saved = task(outlets=[PREDICTIONS])(tasks.save_predictions)(targets, predicted, parts, model)

    start >> model
    task(tasks.add_line_to_file)(model["version"]) >> run_prediction
    [plotted, saved] >> end


predict()
