"""## Promotion

Decides whether the version that **train** just registered, the *challenger*, becomes *champion*.

1. `prepare_holdout` selects the rows that no model was trained on; `predict_holdout` lets challenger and champion
   predict them, each in its own environment.
2. `evaluate_challenger` computes scores with 95 % intervals, also by subgroup, and logs them with a figure to the
   challenger's run.
3. `check_gate` applies the limits of the form: the challenger must be good enough, not worse than the champion on the
   same rows, and good enough in every subgroup. For the first version only the first limit counts.
4. `approve` waits for a person if the form or the Airflow variable `ask_before_promotion` requires it. No response in
   time is a rejection.
5. `promote_to_champion` moves the alias; `keep_challenger` records why not.
6. `write_model_card` describes the version, its data and this decision, and triggers **predict**.
7. `call_model_server` checks that a promoted version answers over HTTP, if a model server is running.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.problem import PROBLEM
from include.services import forms
from include.services.approval import ApprovalBranchOperator
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import promote as tasks


@dag(
    schedule=[MODEL_TRAINED],
    doc_md=__doc__,
    tags=[PROBLEM.name, "model"],
    params=forms.GATE | forms.APPROVAL,
    **DAG_DEFAULTS,
)
def promote() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")
    after_branch = {"trigger_rule": "none_failed_min_one_success", "multiple_outputs": False}

    holdout = task(inlets=[MODEL_TRAINED])(tasks.prepare_holdout)()
    predict_holdout = ModelLoadAndPredictOperator.partial(
        task_id="predict_holdout",
        venv_cache_path=MODEL_ENVIRONMENTS,
        map_index_template="{{ task.output_uri.rpartition('/')[2].removesuffix('.parquet') }}: {{ task.model_uri }}",
    ).expand_kwargs(holdout)
    evaluated = task(multiple_outputs=False)(tasks.evaluate_challenger)()
    approve = ApprovalBranchOperator(
        task_id="approve",
        subject="Promote the challenger to champion?",
        body="{{ ti.xcom_pull('evaluate_challenger')['summary'] }}",
        approved="promote_to_champion",
        rejected="keep_challenger",
        minutes_param="approval_minutes",
    )
    promoted = task(**after_branch)(tasks.promote_to_champion)(evaluated, approve.output)
    kept = task(**after_branch)(tasks.keep_challenger)(evaluated, approve.output)
    event = task(**after_branch, outlets=[MODEL_EVALUATED])(tasks.write_model_card)(evaluated, promoted, kept)

    start >> holdout >> predict_holdout >> evaluated
    task.branch(tasks.check_gate)(evaluated) >> [approve, promoted, kept]
    task(tasks.call_model_server)(event) >> end


promote()
