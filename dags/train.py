"""## Training

Chooses a model for the feature table that **feature_eng** published, fits it and registers it in MLflow.

1. `tune` tries the candidates side by side, each in a task and an MLflow run of its own, by repeated cross-validation
   on the training animals. `select_candidate` takes the simplest of those that are as good as the best. A candidate
   that fails leaves the choice to the others. What the tasks hand each other lies in a scratch folder, which
   `delete_scratch` removes whatever happened.
2. `train_model` fits the winner on all training animals, with prediction intervals, scores it on the holdout animals
   and logs it to MLflow as a run of the winner's name.
3. `register_model` makes it a new version of the registered model, in stage *Staging*, with the alias *challenger*.
4. `end` announces the version, and with it starts the next DAG.

To try other candidates or grids, trigger this DAG by hand and fill in the form.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, setup, task, task_group, teardown

from include import config
from include.mlflow_provider.operators.registry import (
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    TransitionModelVersionStageOperator,
)
from include.model import candidates
from include.platform.assets import FEATURES, MODEL_TRAINED, latest_extra


@task_group
def tune(features_uri: str, experiment_id: str) -> dict[str, Any]:
    @setup
    def create_scratch(features_uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
        from include.tasks import train as steps

        return steps.create_scratch(features_uri, experiment_id, run_id)

    @task
    def list_candidates(features_uri: str, params: dict) -> list[dict[str, Any]]:
        from include.tasks import train as steps

        return steps.list_candidates(features_uri, params["candidates"])

    @task(map_index_template="{{ task.op_kwargs['candidate']['name'] }}")
    def tune_candidate(candidate: dict[str, Any], scratch: dict[str, str]) -> None:
        from include.tasks import train as steps

        steps.tune_candidate(candidate, scratch)

    @task(trigger_rule="all_done")
    def select_candidate(listed: list[dict[str, Any]] | None, ti: Any) -> dict[str, Any]:
        from include.tasks import train as steps

        # Not an argument: Airflow lets no task follow a setup that also runs after failures.
        return steps.select_candidate(listed, ti.xcom_pull("tune.create_scratch"))

    @teardown
    def delete_scratch(scratch: dict[str, str]) -> None:
        from include.tasks import train as steps

        steps.delete_scratch(scratch)

    scratch = create_scratch(features_uri, experiment_id)
    listed = list_candidates(features_uri)
    tuned = tune_candidate.partial(scratch=scratch).expand(candidate=listed)
    selected = select_candidate(listed)
    tuned >> selected >> delete_scratch(scratch).as_teardown(setups=scratch)
    return selected


@task_group
def register_model(trained: dict[str, str]) -> dict[str, dict]:
    @task.branch
    def check_if_model_already_registered() -> str:
        from include.mlflow_provider.hooks.client import MLflowClientHook

        found = MLflowClientHook("GET", config.MLFLOW_CONN_ID).get_registered_model(config.REGISTERED_MODEL)
        return f"register_model.{'model_already_registered' if found else 'create_registered_model'}"

    create_registered_model = CreateRegisteredModelOperator(
        task_id="create_registered_model",
        name=config.REGISTERED_MODEL,
        tags=[{"key": "model_type", "value": "regression"}, {"key": "data", "value": "possum"}],
        description="Predicts the length of a possum's tail (cm) from where it lives and how it is built.",
        exist_ok=True,
    )
    create_model_version = CreateModelVersionOperator(
        task_id="create_model_version",
        name=config.REGISTERED_MODEL,
        source=trained["model_uri"],
        run_id=trained["run_id"],
        tags=[{"key": name, "value": trained[name]} for name in ("features_uri", "artifact_sha256")],
        exist_ok=True,
        trigger_rule="none_failed_min_one_success",
    )
    transition_model = TransitionModelVersionStageOperator(
        task_id="transition_model",
        name=config.REGISTERED_MODEL,
        version="{{ ti.xcom_pull('register_model.create_model_version')['model_version']['version'] }}",
        stage="Staging",
        archive_existing_versions=True,
        alias=config.MODEL_ALIAS,
    )
    registered = [create_registered_model, EmptyOperator(task_id="model_already_registered")]
    trained >> check_if_model_already_registered() >> registered >> create_model_version >> transition_model
    return transition_model.output


@dag(
    schedule=[FEATURES],
    doc_md=__doc__,
    tags=["possums", "model"],
    params={
        "candidates": Param(
            {},
            type="object",
            additionalProperties={"type": "object"},
            description_md="The candidates to try, each with its grid, such as "
            '`{"RidgeCV": {}, "ElasticNet": {"alpha": [0.1, 1]}}`; `{}` as a grid is the candidate\'s own. '
            f"Left empty, all of them:\n\n{candidates.describe()}",
        )
    },
    **config.DAG_DEFAULTS,
)
def train() -> None:
    start = EmptyOperator(task_id="start")

    @task(inlets=[FEATURES])
    def fetch_feature_df(triggering_asset_events: dict, inlet_events: dict) -> str:
        return latest_extra(FEATURES, triggering_asset_events, inlet_events)["uri"]

    @task
    def fetch_experiment_id() -> str:
        from include.mlflow_provider.hooks.client import MLflowClientHook

        experiment = MLflowClientHook("GET", config.MLFLOW_CONN_ID).get_experiment_by_name(config.EXPERIMENT)
        if experiment is None:
            raise LookupError(f"MLflow has no experiment {config.EXPERIMENT}: trigger feature_eng, which makes it")
        return experiment["experiment_id"]

    @task
    def train_model(features_uri: str, experiment_id: str, selected: dict[str, Any]) -> dict[str, str]:
        from include.tasks import train as steps

        return steps.train_model(features_uri, experiment_id, selected)

    @task(outlets=[MODEL_TRAINED])
    def end(registered: dict[str, dict], outlet_events: dict) -> None:
        from include.platform.champions import read_tags

        version = registered["model_version"]
        outlet_events[MODEL_TRAINED].extra = {
            "version": version["version"],
            "run_id": version["run_id"],
            "features_uri": read_tags(version)["features_uri"],
        }

    features_uri = fetch_feature_df()
    experiment_id = fetch_experiment_id()
    trained = train_model(features_uri, experiment_id, tune(features_uri, experiment_id))
    start >> [features_uri, experiment_id]
    end(register_model(trained))


train()
