"""## Training

Trains a ridge regression on the feature table that **feature_eng** published, and registers it in MLflow.

1. `train_model` fits one model that takes raw possum rows, scores it by cross-validation on the training animals
   and on the holdout animals, and logs all of it to MLflow as run `RidgeCV`.
2. `register_model` makes it a new version of the registered model, in stage *Staging*, with the alias *challenger*.
3. `end` announces the version, and with it starts the DAG **predict**.

To try other hyper-parameters, trigger this DAG by hand: the form takes any argument of scikit-learn's `RidgeCV`.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task, task_group

from include import config
from include.assets import FEATURES, MODEL_TRAINED, latest_extra
from include.mlflow_provider.operators.registry import (
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    TransitionModelVersionStageOperator,
)


@dag(
    schedule=[FEATURES],
    doc_md=__doc__,
    tags=["possums", "model"],
    params={
        "hyper_parameters": Param(
            {},
            type="object",
            description='Arguments of RidgeCV, such as {"alphas": [0.1, 1, 10]}; '
            "unless given, alphas are 30 values from 0.001 to 10, evenly spaced on a logarithmic scale",
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
    def train_model(features_uri: str, experiment_id: str, params: dict) -> dict[str, str]:
        from include import model, storage, tracking

        table = storage.read_table(features_uri)
        fitted, scores = model.train_model(table, params["hyper_parameters"])
        logged = tracking.log_training(fitted, table, scores, experiment_id=experiment_id, source=features_uri)
        return {**logged, "features_uri": features_uri}

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
            tags=[{"key": "features_uri", "value": trained["features_uri"]}],
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

    @task(outlets=[MODEL_TRAINED])
    def end(registered: dict[str, dict], outlet_events: dict) -> None:
        version = registered["model_version"]
        tags = {tag["key"]: tag["value"] for tag in version["tags"]}
        outlet_events[MODEL_TRAINED].extra = {
            "version": version["version"],
            "run_id": version["run_id"],
            "features_uri": tags["features_uri"],
        }

    features_uri = fetch_feature_df()
    experiment_id = fetch_experiment_id()
    trained = train_model(features_uri, experiment_id)
    start >> [features_uri, experiment_id]
    end(register_model(trained))


train()
