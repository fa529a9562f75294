"""## Release

Brings the champion of another environment here, from *dev* to *staging* or from *staging* to *prod*, and makes it
champion here: `docs/deployment.md`. It runs where the version arrives, with the connections `mlflow_<source>` and
`aws_<source>` of the environment that it comes from.

1. `choose_version` finds the version, which must have been champion there, and not be on hold.
2. `copy_table` copies the table that it was trained from: **monitor** and **rollback** need it here.
3. `copy_version` makes the version the next one here, once. Its files must arrive with the hash that they were
   registered with.
4. `copy_record` copies parameters, code version and errors of the run that trained it.
5. `predict_with_version` loads it and lets it predict a few rows, after checking the hash again.
6. `check_version` checks the predictions, and that the version fits this environment.
7. `approve` waits for a person, unless the form says otherwise. No response in time is a rejection.
8. `promote_to_champion` moves the alias; `keep_version` records why not.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.mlflow_provider.operators.registry import CopyModelVersionOperator
from include.problem import PROBLEM
from include.services import champions, forms
from include.services.approval import ApprovalBranchOperator
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import release as tasks


@dag(schedule=None, doc_md=__doc__, tags=[PROBLEM.name, "model"], params=forms.RELEASE, **DAG_DEFAULTS)
def release() -> None:
    after_branch = {"trigger_rule": "none_failed_min_one_success", "multiple_outputs": False}

    chosen = task(multiple_outputs=False)(tasks.choose_version)()
    table = task(multiple_outputs=False)(tasks.copy_table)(chosen)
    copied = CopyModelVersionOperator(
        task_id="copy_version",
        name=champions.MODEL,
        model_uri="{{ ti.xcom_pull('choose_version')['model_uri'] }}",
        source_conn_id="{{ ti.xcom_pull('choose_version')['mlflow_conn_id'] }}",
        tags=tasks.TAGS,
        exist_ok=True,
    )
    recorded = task(multiple_outputs=False)(tasks.copy_record)(chosen, copied.output)
    predict_with_version = ModelLoadAndPredictOperator(
        task_id="predict_with_version",
        model_uri="{{ ti.xcom_pull('copy_record')['model_uri'] }}",
        data="{{ ti.xcom_pull('copy_table')['rows_uri'] }}",
        venv_cache_path=MODEL_ENVIRONMENTS,
    )
    checked = task.branch(tasks.check_version)(recorded, predict_with_version.output)
    approve = ApprovalBranchOperator(
        task_id="approve",
        subject="Make this version champion here?",
        body="{{ ti.xcom_pull('copy_record')['summary'] }}",
        approved="promote_to_champion",
        rejected="keep_version",
    )
    promoted = task(**after_branch)(tasks.promote_to_champion)(recorded, table, approve.output)
    kept = task(**after_branch)(tasks.keep_version)(recorded, table, approve.output)

    EmptyOperator(task_id="start") >> chosen >> table >> copied
    recorded >> predict_with_version >> checked >> [approve, promoted, kept]
    [promoted, kept] >> EmptyOperator(task_id="end", trigger_rule="none_failed_min_one_success")


release()
