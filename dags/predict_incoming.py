"""## Prediction of new rows

Predicts the rows of CSV and Parquet files in the folder `incoming/` of the bucket `data`: the columns of the problem's
table, without the target. A watcher in Airflow's triggerer detects a file within seconds.

1. `claim_files` takes all files that are there, and those that an earlier run did not finish.
2. `choose_model` finds the champion, once for the whole run. As long as there is no model, the files wait.
3. `predict_file`, once per file: `check_rows` moves a file with errors to `rejected/`, with the reasons beside it;
   `run_prediction` predicts the others, and `save_predictions` writes them to `predictions/incoming/`, with 90 %
   prediction intervals and warnings, and moves the file to `processed/`.
4. `settle_files` counts the files that could not be predicted, moves one that failed in three runs to `rejected/`, and
   alerts the team of all rejected files of the run.

Each upload is predicted once: files are distinguished by time of upload and content, not by name alone.
"""

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task, task_group

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.problem import PROBLEM
from include.services.assets import INCOMING, PREDICTIONS, object_uri
from include.services.dag_defaults import DAG_DEFAULTS, HEAVY
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import predict_incoming as tasks

FILE = "{{ task.op_kwargs['upload'].rpartition('/')[2] }}"


@task_group
def predict_file(upload: Any, model: Any) -> None:
    rows_uri = task(map_index_template=FILE)(tasks.check_rows)(upload=upload)
    run_prediction = ModelLoadAndPredictOperator(
        task_id="run_prediction",
        map_index_template="{{ task.data.rpartition('/')[2].removesuffix('.parquet') }}",
        model_uri=model["uri"],
        data=rows_uri,
        output_uri="{{ object_uri(PREDICTIONS, run_id, 'predicted-' ~ ti.map_index ~ '.parquet') }}",
        venv_cache_path=MODEL_ENVIRONMENTS,
        **HEAVY,
    )
    save = task(outlets=[PREDICTIONS], map_index_template=FILE)(tasks.save_predictions)
    save(upload=upload, rows_uri=rows_uri, predicted_uri=run_prediction.output, model=model)


@dag(
    schedule=[INCOMING],
    doc_md=__doc__,
    tags=[PROBLEM.name, "predictions"],
    user_defined_macros={"object_uri": object_uri, "PREDICTIONS": PREDICTIONS},
    **DAG_DEFAULTS,
)
def predict_incoming() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")
    files, model = task(tasks.claim_files)(), task(tasks.choose_model)()
    start >> [files, model]
    settled = task(trigger_rule="all_done")(tasks.settle_files)(uploads=files, model=model)
    predict_file.partial(model=model).expand(upload=files) >> [settled, end]
    settled >> end


predict_incoming()
