"""## Rollback

Makes an earlier version *champion* again: the one before the present champion, or the one that the form names.

1. `choose_version` finds the version, and refuses if there is none to go back to.
2. `predict_with_version` loads it and has it predict a few possums, before anything changes.
3. `move_champion` looks at what it predicted, moves the alias, and records at the version who wanted it and why.

Trigger it by hand. Whoever follows the alias uses the other version from then on.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task

from include import config
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["possums", "model"],
    params={
        "version": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d+$",
            description="Such as 3; the champion before this one if empty",
        ),
        "reason": Param(type="string", minLength=3, maxLength=1000, description="Why; kept with the version"),
    },
    **config.DAG_DEFAULTS,
)
def rollback() -> None:
    @task
    def choose_version(params: dict) -> dict:
        from include.tasks import rollback

        return rollback.choose_version(params["version"])

    @task
    def move_champion(chosen: dict, predicted: str, params: dict, dag_run: object) -> str:
        from include.tasks import rollback

        by = getattr(dag_run, "triggering_user_name", None) or "unknown"
        return rollback.roll_back(chosen["version"], predicted, by=by, why=params["reason"])

    chosen = choose_version()
    predict_with_version = ModelLoadAndPredictOperator(
        task_id="predict_with_version",
        model_uri="{{ ti.xcom_pull('choose_version')['model_uri'] }}",
        data=chosen["rows"],
        venv_cache_path=config.MODEL_ENVIRONMENTS,
    )
    moved = move_champion(chosen, predict_with_version.output)
    EmptyOperator(task_id="start") >> chosen >> predict_with_version >> moved >> EmptyOperator(task_id="end")


rollback()
