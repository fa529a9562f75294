"""Tasks that speak to MLflow through the hooks."""

from airflow.sdk import dag, task


@dag(schedule=None)
def example_mlflow_hooks() -> None:
    """Log a run with the REST API, a model with the ``mlflow`` library, and read what the model needs."""

    @task
    def log_run() -> str:
        """Return the id of the experiment."""
        # [START howto_hook_client]
        from mlflow_provider.hooks.client import MLflowClientHook

        client = MLflowClientHook(mlflow_conn_id="mlflow_default")
        experiment_id = client.create_experiment("lengths", exist_ok=True)
        run_id = client.create_run(experiment_id, run_name="ridge")["info"]["run_id"]
        client.log_batch(run_id, metrics=[{"key": "rmse", "value": 1.26}], params={"alpha": 10})
        client.set_terminated(run_id)
        best = next(client.search_runs([experiment_id], "metrics.rmse < 1.5", order_by=["metrics.rmse ASC"]))
        # [END howto_hook_client]
        return best["info"]["experiment_id"]

    @task
    def log_model(experiment_id: str) -> str:
        """Return the URI of the model."""
        # [START howto_hook_base]
        import mlflow
        import pandas as pd
        from mlflow_provider.hooks.base import MLflowBaseHook

        def total(model_input: pd.DataFrame) -> list[float]:
            return model_input.sum(axis=1).tolist()

        with MLflowBaseHook("mlflow_default").environment(), mlflow.start_run(experiment_id=experiment_id):
            model = mlflow.pyfunc.log_model(
                name="model",
                python_model=total,
                input_example=pd.DataFrame({"width": [94.1], "height": [36.0]}),
                pip_requirements=["mlflow-skinny==3.17.2", "pandas==3.1.1"],
            )
            mlflow.log_metric("rmse", 1.26, model_id=model.model_id)
        # [END howto_hook_base]
        return model.model_uri

    @task
    def read_requirements(model_uri: str) -> list[str]:
        """Return the lines of the model's ``requirements.txt``."""
        # [START howto_hook_pyfunc]
        from mlflow_provider.hooks.pyfunc import MLflowPyfuncHook

        pyfunc = MLflowPyfuncHook("mlflow_default")
        folder = pyfunc.get_model_artifact_uri(model_uri)
        return pyfunc.get_model_requirements(folder)
        # [END howto_hook_pyfunc]

    read_requirements(log_model(log_run()))


example_mlflow_hooks()
