"""## Promotion

Decides whether the version that **train** just registered, the *challenger*, becomes *champion*.

1. `prepare_holdout` picks the animals that no model was trained on; `predict_holdout` has the challenger and the
   champion predict them, each in an environment of its own.
2. `evaluate_challenger` computes errors with 95 % intervals, by site, sex and population too, and logs them with a
   picture to the challenger's run.
3. `check_gate` reads the verdict: the challenger must be within the absolute floor, not worse than the champion on
   the same animals, and in no subgroup beyond that subgroup's floor. The first version has the absolute floor alone.
4. `approve` waits for a person, if the form or the Airflow variable `ask_before_promotion` says so. No answer in time
   is a no.
5. `promote_to_champion` moves the alias; `keep_challenger` writes down why not.
6. `write_model_card` describes the version, its data and this decision, and announces it: **predict** starts.
7. `call_model_server` has a promoted version predict over HTTP, if it is served.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task

from include import config
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from include.platform.approval import ApprovalBranchOperator, describe_answer, is_wanted
from include.platform.assets import MODEL_EVALUATED, MODEL_TRAINED, latest_extra

PARAMS = {
    "margin": Param(
        config.GATE["margin"],
        type="number",
        minimum=0,
        description="The challenger is worse if its RMSE is larger than the champion's by this share",
    ),
    "confidence": Param(
        config.GATE["confidence"],
        type="number",
        exclusiveMinimum=0.5,
        exclusiveMaximum=1,
        description="That a worse challenger is not promoted",
    ),
    "max_rmse": Param(
        config.GATE["max_rmse"],
        type="number",
        exclusiveMinimum=0,
        description="Absolute floor: the largest RMSE on the holdout, in cm",
    ),
    "subgroup_max_rmse": Param(
        config.GATE["subgroup_max_rmse"],
        type="object",
        propertyNames={"enum": config.CATEGORICAL},
        additionalProperties={"type": "number"},
        description="The largest RMSE, in cm, of each group of a column; few animals may exceed it by chance",
    ),
    "approval": Param(
        False,
        type="boolean",
        description="Ask a person before the champion changes; the Airflow variable ask_before_promotion asks always",
    ),
    "approval_minutes": Param(
        1440, type="number", exclusiveMinimum=0, description="How long to wait for the answer; none is a no"
    ),
}


@dag(schedule=[MODEL_TRAINED], doc_md=__doc__, tags=["possums", "model"], params=PARAMS, **config.DAG_DEFAULTS)
def promote() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end", trigger_rule="none_failed")

    @task(inlets=[MODEL_TRAINED])
    def prepare_holdout(run_id: str, triggering_asset_events: dict, inlet_events: dict) -> list[dict[str, str]]:
        from include.tasks import promote as steps

        trained = latest_extra(MODEL_TRAINED, triggering_asset_events, inlet_events)
        return steps.list_contestants(trained, run_id)

    predict_holdout = ModelLoadAndPredictOperator.partial(
        task_id="predict_holdout",
        venv_cache_path=config.MODEL_ENVIRONMENTS,
        map_index_template="{{ task.output_uri.rpartition('/')[2].removesuffix('.parquet') }}: {{ task.model_uri }}",
    )

    @task(multiple_outputs=False)
    def evaluate_challenger(params: dict, run_id: str) -> dict:
        from include.evaluation.gate import Rules
        from include.tasks import promote as steps

        return steps.evaluate(run_id, Rules(**{name: params[name] for name in config.GATE}))

    @task.branch
    def check_gate(evaluated: dict, params: dict) -> str:
        if not evaluated["passed"]:
            return "keep_challenger"
        return "approve" if is_wanted(params["approval"]) else "promote_to_champion"

    approve = ApprovalBranchOperator(
        task_id="approve",
        subject="Shall the challenger become champion?",
        body="{{ ti.xcom_pull('evaluate_challenger')['summary'] }}",
        approved="promote_to_champion",
        rejected="keep_challenger",
        minutes_param="approval_minutes",
    )

    @task(trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def promote_to_champion(evaluated: dict, answer: dict | None) -> dict:
        from include.tasks import promote as steps

        return steps.promote(evaluated, *describe_answer(answer))

    @task(trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def keep_challenger(evaluated: dict, answer: dict | None) -> dict:
        from include.tasks import promote as steps

        return steps.keep(evaluated, *describe_answer(answer))

    @task(outlets=[MODEL_EVALUATED], trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def write_model_card(evaluated: dict, promoted: dict | None, kept: dict | None, outlet_events: dict) -> dict:
        from include.tasks import promote as steps

        announcement = steps.write_card(evaluated["uri"], promoted or kept or {})
        outlet_events[MODEL_EVALUATED].extra = announcement
        return announcement

    @task
    def call_model_server(announcement: dict) -> str:
        from airflow.sdk.exceptions import AirflowSkipException

        from include.platform import storage
        from include.serving import model_client

        if not (announcement["promoted"] and model_client.is_up(config.MODEL_SERVER)):
            raise AirflowSkipException("Nothing was promoted, or no model server is up (make serve)")
        rows = storage.read_table(announcement["features_uri"]).head()[[config.CASE, *config.RAW]]
        return model_client.smoke_test(config.MODEL_SERVER, rows, version=announcement["version"])

    contestants = prepare_holdout()
    predicted = predict_holdout.expand_kwargs(contestants)
    evaluated = evaluate_challenger()
    promoted = promote_to_champion(evaluated, approve.output)
    kept = keep_challenger(evaluated, approve.output)
    start >> contestants >> predicted >> evaluated
    check_gate(evaluated) >> [approve, promoted, kept]
    approve >> [promoted, kept]
    call_model_server(write_model_card(evaluated, promoted, kept)) >> end


promote()
