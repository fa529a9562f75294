"""A DAG that starts when MLflow's webhook tells of a new version."""

from typing import Any

# [START howto_webhook_mlflow]
from airflow.sdk import Asset, dag, task

lengths = Asset("mlflow_lengths", uri="mlflow://mlflow_default/lengths")


@dag(schedule=lengths)
def example_mlflow_webhook() -> None:
    """Report what MLflow sent."""

    @task
    def report(triggering_asset_events: Any = None) -> list[dict[str, str]]:
        """Return event, model, page and what MLflow sends with the event, such as the version."""
        return [event.extra["payload"] for event in triggering_asset_events[lengths]]

    report()


example_mlflow_webhook()
# [END howto_webhook_mlflow]
