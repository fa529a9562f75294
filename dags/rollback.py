"""## Rollback

Makes an earlier version *champion* again: the one before the present champion, or the one in the form.

1. `choose_version` finds the version, and fails if there is none to go back to.
2. `predict_with_version` loads it and lets it predict a few rows, before anything changes.
3. `move_champion` checks the predictions, moves the alias, and records at the version who did it and why. It puts the
   version that was champion on hold: **promote** does not promote it again until a person deletes its tag `on_hold`.

Trigger it manually. Everything that follows the alias uses the other version from then on.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.problem import PROBLEM
from include.services import forms
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import rollback as tasks


@dag(schedule=None, doc_md=__doc__, tags=[PROBLEM.name, "model"], params=forms.ROLLBACK, **DAG_DEFAULTS)
def rollback() -> None:
    chosen = task(multiple_outputs=False)(tasks.choose_version)()
    predict_with_version = ModelLoadAndPredictOperator(
        task_id="predict_with_version",
        model_uri="{{ ti.xcom_pull('choose_version')['model_uri'] }}",
        data="{{ ti.xcom_pull('choose_version')['rows_uri'] }}",
        venv_cache_path=MODEL_ENVIRONMENTS,
    )
    moved = task(tasks.move_champion)(chosen, predict_with_version.output)
    EmptyOperator(task_id="start") >> chosen >> predict_with_version >> moved >> EmptyOperator(task_id="end")


rollback()
