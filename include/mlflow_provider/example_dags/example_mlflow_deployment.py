"""Deploy a model to SageMaker, and predict with it there."""

from airflow.sdk import dag, task
from mlflow_provider.operators.deployment import CreateDeploymentOperator, PredictOperator


@dag(schedule=None, params={"target_uri": "sagemaker:/us-west-2"})
def example_mlflow_deployment() -> None:
    """Deploy the champion, list the deployments, predict."""
    # [START howto_operator_create_deployment]
    deploy = CreateDeploymentOperator(
        task_id="deploy",
        name="lengths",
        model_uri="models:/lengths@champion",
        target_uri="{{ params.target_uri }}",
        target_conn_id="aws_default",
    )
    # [END howto_operator_create_deployment]

    @task
    def list_deployments(params: dict[str, str]) -> list[str]:
        """Return the names of all deployments."""
        # [START howto_hook_deployment]
        from mlflow_provider.hooks.deployment import MLflowDeploymentHook

        target = MLflowDeploymentHook("mlflow_default", params["target_uri"], "aws_default")
        with target.environment():
            deployments = target.get_conn().list_deployments()
        # [END howto_hook_deployment]
        return [deployment["name"] for deployment in deployments]

    # [START howto_operator_predict]
    ask = PredictOperator(
        task_id="ask",
        deployment_name="lengths",
        inputs={"dataframe_records": [{"width": 94.1, "height": 36.0}]},
        target_uri="{{ params.target_uri }}",
        target_conn_id="aws_default",
    )
    # [END howto_operator_predict]
    deploy >> list_deployments() >> ask


example_mlflow_deployment()
