"""## Catalogue

Sends the registered models of MLflow to an OpenMetadata server, every night and after each evaluation of a model.

1. `ingest` runs OpenMetadata's own connector for MLflow, configured in `include/openmetadata/mlflow.yaml`: one entity
   per model, with features and parameters. Models without a version are skipped; anything else that is incomplete
   fails the task.
2. `complete` adds what the connector leaves out: the champion with its metrics and links to MLflow, its aliases as
   tags, an owner, and lineage from the source table through the features to the model and its predictions.

The DAG is paused at first, because it needs the connector's environment (`make setup-openmetadata`) and the connection
`openmetadata_default`; `docs/openmetadata.md` shows both.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, literal

from include.openmetadata.catalogue import describe_completion
from include.openmetadata.operator import ConnectorOperator, complete, ingest
from include.openmetadata.workflow import read_workflow
from include.problem import PROBLEM
from include.services.assets import MODEL_EVALUATED
from include.services.dag_defaults import DAG_DEFAULTS
from include.settings import OPENMETADATA_WORKFLOW

read_workflow(OPENMETADATA_WORKFLOW)  # settings that it refuses are an import error of this DAG


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("30 4 * * *", timezone="UTC"), assets=[MODEL_EVALUATED]
    ),
    is_paused_upon_creation=True,
    doc_md=__doc__,
    tags=[PROBLEM.name, "catalogue"],
    **DAG_DEFAULTS,
)
def openmetadata_mlflow() -> None:
    start = EmptyOperator(task_id="start")
    end = EmptyOperator(task_id="end")

    workflow = str(OPENMETADATA_WORKFLOW)
    ingested = ConnectorOperator(task_id="ingest", python_callable=ingest, workflow=workflow)
    completed = ConnectorOperator(
        task_id="complete",
        python_callable=complete,
        workflow=workflow,
        # Column names may contain braces, which a template would replace.
        op_kwargs={"ingested": ingested.output, "completion": literal(describe_completion(PROBLEM))},
    )
    start >> ingested >> completed >> end


openmetadata_mlflow()
