"""## Promotion

Decides whether a version that **train** registered, the *challenger*, becomes *champion*. Versions are judged one after
the other, the oldest first; each gets one verdict, recorded at the version in MLflow.

1. `choose_version` takes the oldest version without a verdict, or the one of the form.
2. `prepare_holdout` selects the rows that no model was trained on; `predict_holdout` lets challenger and champion
   predict them, each in its own environment.
3. `evaluate_challenger` computes scores with intervals, also by subgroup, and logs them to the challenger's run.
4. `check_gate` applies the limits of the form: the challenger must be good enough, not worse than the champion on the
   same rows, and good enough in every subgroup.
5. `approve` waits for a person if the form or the Airflow variable `ask_before_promotion` requires it. No response in
   time is a rejection.
6. `promote_to_champion` moves the alias; `keep_challenger` records why not.
7. `write_model_card` describes the version, its data and this decision, and triggers **predict**.
8. `call_model_server` checks that a promoted version answers over HTTP, if a model server is running.
9. `hand_over` starts the next run if another version waits, also when this run has failed.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.problem import PROBLEM
from include.services import forms
from include.services.approval import ApprovalBranchOperator
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED
from include.services.dag_defaults import DAG_DEFAULTS, HEAVY
from include.settings import MODEL_ENVIRONMENTS
from include.tasks import evaluate
from include.tasks import promote as tasks


@dag(
    schedule=[MODEL_TRAINED],
    doc_md=__doc__,
    tags=[PROBLEM.name, "model"],
    params=forms.CHALLENGER | forms.GATE | forms.APPROVAL,
    **DAG_DEFAULTS,
)
def promote() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")
    after_branch = {"trigger_rule": "none_failed_min_one_success", "multiple_outputs": False}

    chosen = task.short_circuit(tasks.choose_version)()
    holdout = task(evaluate.prepare_holdout)(chosen)
    predict_holdout = ModelLoadAndPredictOperator.partial(
        task_id="predict_holdout",
        venv_cache_path=MODEL_ENVIRONMENTS,
        **HEAVY,
        map_index_template="{{ task.output_uri.rpartition('/')[2].removesuffix('.parquet') }}: {{ task.model_uri }}",
    ).expand_kwargs(holdout)
    # none_failed, because nothing is predicted where there are too few rows
    evaluated = task(trigger_rule="none_failed", multiple_outputs=False)(evaluate.evaluate_challenger)()
    approve = ApprovalBranchOperator(
        task_id="approve",
        subject="Promote the challenger to champion?",
        body="{{ ti.xcom_pull('evaluate_challenger')['summary'] }}",
        approved="promote_to_champion",
        rejected="keep_challenger",
    )
    promoted = task(**after_branch)(tasks.promote_to_champion)(evaluated, approve.output)
    kept = task(**after_branch)(tasks.keep_challenger)(evaluated, approve.output)
    event = task(**after_branch, outlets=[MODEL_EVALUATED])(tasks.write_model_card)(evaluated, promoted, kept)

    handed_over = task(outlets=[MODEL_TRAINED])(tasks.hand_over)(chosen)

    start >> chosen
    holdout >> predict_holdout >> evaluated
    task.branch(tasks.check_gate)(evaluated) >> [approve, promoted, kept]
    task(tasks.call_model_server)(event) >> [end, handed_over.as_teardown()]


promote()
