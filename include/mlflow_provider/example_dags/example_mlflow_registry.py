"""A model from its training to its deletion: the decorator, the operators of the registry, the sensor, a prediction."""

from airflow.sdk import chain, dag, task
from mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator
from mlflow_provider.operators.registry import (
    CopyModelVersionOperator,
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    DeleteModelVersionOperator,
    DeleteRegisteredModelAliasOperator,
    DeleteRegisteredModelOperator,
    GetLatestModelVersionsOperator,
    GetModelVersionOperator,
    GetRegisteredModelOperator,
    PruneModelVersionsOperator,
    SearchModelVersionsOperator,
    SetModelVersionTagOperator,
    SetRegisteredModelAliasOperator,
    TransitionModelVersionStageOperator,
    ValidateModelVersionOperator,
)
from mlflow_provider.retries import MLflowRetryPolicy
from mlflow_provider.sensors.model_version import MLflowModelVersionSensor


# [START howto_retry_policy_mlflow]
@dag(schedule=None, default_args={"retries": 2, "retry_policy": MLflowRetryPolicy()})
# [END howto_retry_policy_mlflow]
def example_mlflow_registry() -> None:
    """Train, register, promote, predict, clean up."""

    # [START howto_decorator_mlflow]
    @task.mlflow(experiment="lengths", run_name="ridge", tags={"data": "2026-11"})
    def train() -> str:
        """Log a metric and a model to the task's run, and return the model's URI."""
        import mlflow
        import pandas as pd

        def total(model_input: pd.DataFrame) -> list[float]:
            return model_input.sum(axis=1).tolist()

        example = pd.DataFrame({"width": [94.1], "height": [36.0]})
        packages = ["mlflow-skinny==3.17.2", "pandas==3.1.1"]
        model = mlflow.pyfunc.log_model(
            name="model", python_model=total, input_example=example, pip_requirements=packages
        )
        mlflow.log_metric("rmse", 1.26)
        return model.model_uri

    @task.mlflow(experiment="lengths", parent_run_id="{{ ti.xcom_pull('train', key='mlflow_run_id') }}")
    def explain() -> None:
        """Log to a run that MLflow shows below that of ``train``."""
        import mlflow

        mlflow.log_metric("importance", 0.7)

    # [END howto_decorator_mlflow]

    # [START howto_operator_create_registered_model]
    create_model = CreateRegisteredModelOperator(task_id="create_model", name="lengths", exist_ok=True)
    # [END howto_operator_create_registered_model]

    # [START howto_operator_get_registered_model]
    get_model = GetRegisteredModelOperator(task_id="get_model", name="lengths")
    # [END howto_operator_get_registered_model]

    # [START howto_operator_create_model_version]
    create_version = CreateModelVersionOperator(
        task_id="create_version",
        name="lengths",
        source="{{ ti.xcom_pull('train') }}",
        run_id="{{ ti.xcom_pull('train', key='mlflow_run_id') }}",
        exist_ok=True,
    )
    # [END howto_operator_create_model_version]

    # [START howto_operator_get_model_version]
    get_version = GetModelVersionOperator(task_id="get_version", name="lengths", version="1")
    # [END howto_operator_get_model_version]

    # [START howto_operator_validate_model_version]
    validate = ValidateModelVersionOperator(task_id="validate", name="lengths", version="1", at_most={"rmse": 1.5})
    # [END howto_operator_validate_model_version]

    # [START howto_operator_set_model_version_tag]
    set_tag = SetModelVersionTagOperator(task_id="set_tag", name="lengths", version="1", key="rows", value=104)
    # [END howto_operator_set_model_version_tag]

    # [START howto_operator_search_model_versions]
    search = SearchModelVersionsOperator(task_id="search", name="lengths", filter_string="tags.rows = '104'")
    # [END howto_operator_search_model_versions]

    # [START howto_operator_transition_model_version_stage]
    promote = TransitionModelVersionStageOperator(
        task_id="promote", name="lengths", version="1", stage="Production", alias="champion"
    )
    # [END howto_operator_transition_model_version_stage]

    # [START howto_operator_set_registered_model_alias]
    set_alias = SetRegisteredModelAliasOperator(task_id="set_alias", name="lengths", alias="candidate", version="1")
    # [END howto_operator_set_registered_model_alias]

    # [START howto_operator_delete_registered_model_alias]
    delete_alias = DeleteRegisteredModelAliasOperator(task_id="delete_alias", name="lengths", alias="candidate")
    # [END howto_operator_delete_registered_model_alias]

    # [START howto_operator_get_latest_model_versions]
    latest = GetLatestModelVersionsOperator(task_id="latest", name="lengths", stages=["Production"])
    # [END howto_operator_get_latest_model_versions]

    # [START howto_sensor_model_version]
    wait_for_champion = MLflowModelVersionSensor(
        task_id="wait_for_champion",
        name="lengths",
        alias="champion",
        metric="rmse",
        at_most=1.5,
        timeout=6 * 60 * 60,
        deferrable=True,
    )
    # [END howto_sensor_model_version]

    # [START howto_operator_model_load_and_predict]
    load_and_predict = ModelLoadAndPredictOperator(
        task_id="load_and_predict", model_uri="models:/lengths@champion", data=[{"width": 94.1, "height": 36.0}]
    )
    # [END howto_operator_model_load_and_predict]

    # [START howto_operator_copy_model_version]
    copy_version = CopyModelVersionOperator(
        task_id="copy_version", model_uri="models:/lengths@champion", name="lengths production", exist_ok=True
    )
    # [END howto_operator_copy_model_version]

    # [START howto_operator_prune_model_versions]
    prune = PruneModelVersionsOperator(task_id="prune", name="lengths production", keep=5, preview=True)
    # [END howto_operator_prune_model_versions]

    # [START howto_operator_delete_model_version]
    delete_version = DeleteModelVersionOperator(task_id="delete_version", name="lengths", version="1", missing_ok=True)
    # [END howto_operator_delete_model_version]

    # [START howto_operator_delete_registered_model]
    delete_model = DeleteRegisteredModelOperator(task_id="delete_model", name="lengths", missing_ok=True)
    delete_copy = DeleteRegisteredModelOperator(task_id="delete_copy", name="lengths production", missing_ok=True)
    # [END howto_operator_delete_registered_model]

    chain(train(), explain(), create_model, get_model, create_version, get_version, validate, set_tag, search)
    chain(search, promote, set_alias, delete_alias, latest, wait_for_champion, load_and_predict)
    chain(load_and_predict, copy_version, prune, delete_version, delete_model, delete_copy)


example_mlflow_registry()
