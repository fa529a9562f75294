"""A DAG that starts when the champion of a registered model changes."""

from typing import Any

# [START howto_trigger_mlflow_registry_event]
from airflow.sdk import Asset, AssetWatcher, dag, task
from mlflow_provider.triggers.registry import MLflowRegistryEventTrigger

watcher = AssetWatcher(
    name="champion", trigger=MLflowRegistryEventTrigger(event="alias", name="lengths", key="champion")
)
champion = Asset("mlflow_champion", uri="mlflow://mlflow_default/lengths/champion", watchers=[watcher])


@dag(schedule=champion)
def example_mlflow_events() -> None:
    """Report each new champion."""

    @task
    def report(triggering_asset_events: Any = None) -> list[dict[str, str]]:
        """Return event, model, version, alias, run_id and page of each change."""
        return [event.extra["payload"] for event in triggering_asset_events[champion]]

    report()


example_mlflow_events()
# [END howto_trigger_mlflow_registry_event]
