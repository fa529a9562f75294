"""## Catalogue

Sends the registered models of MLflow to an OpenMetadata server, every night and whenever a model was evaluated.

1. `ingest` runs OpenMetadata's own connector for MLflow, as `include/openmetadata/mlflow.yaml` says: an entity for
   each model, with features and parameters. Models without a version are skipped; if anything else did not arrive
   whole, it fails.
2. `complete` adds what the connector leaves out: the champion with its metrics and links to MLflow, its aliases as
   tags, an owner, and lineage from the possum table over the features to the model and its predictions.

Paused until you switch it on, because it needs what nothing else here does: the connector's environment (`make
setup-openmetadata`) and the connection `openmetadata_default` to a server. `docs/openmetadata.md` says how.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag

from include import config
from include.openmetadata.operator import ConnectorOperator
from include.openmetadata.possums import COMPLETION
from include.openmetadata.workflow import read_workflow
from include.platform.assets import MODEL_EVALUATED

read_workflow(config.OPENMETADATA_WORKFLOW)  # what it refuses is an import error of this DAG


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("30 4 * * *", timezone="UTC"), assets=[MODEL_EVALUATED]
    ),
    is_paused_upon_creation=True,
    doc_md=__doc__,
    tags=["possums", "catalogue"],
    **config.DAG_DEFAULTS,
)
def openmetadata_mlflow() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end")

    # The bodies run in the connector's environment, where there is no Airflow.
    def ingest(workflow: str) -> dict:
        from include.openmetadata import connector

        return connector.ingest(workflow)

    def complete(workflow: str, ingested: dict, alias: str, owner: str, lineage: dict) -> dict:
        from include.openmetadata import completion

        return completion.complete(workflow, ingested["sent"], alias, owner, lineage)

    workflow = str(config.OPENMETADATA_WORKFLOW)
    ingested = ConnectorOperator(task_id="ingest", python_callable=ingest, workflow=workflow)
    completed = ConnectorOperator(
        task_id="complete",
        python_callable=complete,
        workflow=workflow,
        op_kwargs={"ingested": ingested.output, **COMPLETION},
    )
    start >> ingested >> completed >> end


openmetadata_mlflow()
