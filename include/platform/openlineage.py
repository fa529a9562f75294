"""What the tasks' OpenLineage events say of data. Airflow finds the classes by ``AIRFLOW__OPENLINEAGE__EXTRACTORS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    RunFacet,
    data_quality_assertions_dataset,
    data_quality_metrics_dataset,
    data_quality_metrics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from include.platform import lineage as notes
from include.platform.lineage import Dataset, Notes, Table

if TYPE_CHECKING:
    from include.data.checks import Result

SEVERITIES = {"halting": "error", "warning": "warn", "cleaning": "warn"}  # the words that OpenLineage knows


@attr.define
class MLflowRunFacet(RunFacet):
    """The MLflow run that a task logged to."""

    runId: str  # noqa: N815

    _additional_skip_redact = ["runId"]


class PythonTaskExtractor(BaseExtractor):
    """Tells what a ``@task`` function noted while it ran; never its source code."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the classes behind ``@task`` and ``@task.branch``."""
        return ["_PythonDecoratedOperator", "_BranchPythonDecoratedOperator"]

    def _execute_extraction(self) -> OperatorLineage:
        notes.take()  # the task begins: what is there was left by another one in this process
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return the notes of a task that is through, or has failed."""
        return to_lineage(notes.take())


class PredictionExtractor(BaseExtractor):
    """Tells which rows and which model a ``ModelLoadAndPredictOperator`` read, and where it wrote the predictions."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the operator's name."""
        return ["ModelLoadAndPredictOperator"]

    def _execute_extraction(self) -> OperatorLineage:
        operator = self.operator
        inputs: dict[Dataset, Table | None] = {notes.locate_model(operator.model_uri, _server(operator)): None}
        if isinstance(operator.data, str):
            inputs[notes.locate(operator.data)] = None
        outputs = [notes.locate(operator.output_uri)] if operator.output_uri else []
        return to_lineage(Notes(inputs, dict.fromkeys(outputs)))


class RegistrationExtractor(BaseExtractor):
    """Tells which logged model a ``CreateModelVersionOperator`` made which version."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the operator's name."""
        return ["CreateModelVersionOperator"]

    def _execute_extraction(self) -> OperatorLineage:
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return model and version of a task that is through."""
        server = _server(self.operator)
        registered = task_instance.xcom_pull(task_ids=task_instance.task_id, map_indexes=task_instance.map_index)
        version = registered["model_version"]
        made = notes.locate_model(f"models:/{version['name']}/{version['version']}", server)
        source = notes.locate_model(self.operator.source, server)
        return to_lineage(Notes({source: None}, {made: None}, mlflow_run_id=self.operator.run_id or ""))

    def extract_on_failure(self, task_instance: Any) -> OperatorLineage:
        """Return nothing: there is no version."""
        return OperatorLineage()


def to_lineage(noted: Notes) -> OperatorLineage:
    """Return notes in OpenLineage's terms."""
    return OperatorLineage(
        inputs=[
            _describe_input(dataset, table, noted.checks.get(dataset, ())) for dataset, table in noted.inputs.items()
        ],
        outputs=[_describe_output(dataset, table) for dataset, table in noted.outputs.items()],
        run_facets={"mlflow_run": MLflowRunFacet(noted.mlflow_run_id)} if noted.mlflow_run_id else {},
    )


def _describe_input(dataset: Dataset, table: Table | None, checks: tuple[Result, ...]) -> InputDataset:
    facets: dict[str, Any] = {}
    if table:
        columns = {
            name: data_quality_metrics_input_dataset.ColumnMetrics(nullCount=count)
            for name, count in table.missing.items()
        }
        facets["dataQualityMetrics"] = data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
            columnMetrics=columns, rowCount=table.rows
        )
    if checks:
        facets["dataQualityAssertions"] = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[
                data_quality_assertions_dataset.Assertion(
                    assertion=result.check,
                    success=not result.faults,
                    column=None if result.column == "all" else result.column,
                    severity=SEVERITIES[result.severity],
                )
                for result in checks
            ]
        )
    return InputDataset(*dataset, facets=_schema(table), inputFacets=facets)


def _describe_output(dataset: Dataset, table: Table | None) -> OutputDataset:
    if not table:
        return OutputDataset(*dataset)
    columns = {
        name: data_quality_metrics_dataset.ColumnMetrics(nullCount=count) for name, count in table.missing.items()
    }
    metrics = data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(columnMetrics=columns, rowCount=table.rows)
    written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=table.rows)
    return OutputDataset(
        *dataset,
        facets={**_schema(table), "dataQualityMetrics": metrics},
        outputFacets={"outputStatistics": written},
    )


def _schema(table: Table | None) -> dict[str, Any]:
    fields = [
        schema_dataset.SchemaDatasetFacetFields(name, type=kind)
        for name, kind in (table.columns if table else {}).items()
    ]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields=fields)} if fields else {}


def _server(operator: Any) -> str:
    from include.mlflow_provider.hooks.base import MLflowBaseHook

    return MLflowBaseHook(operator.mlflow_conn_id).server.base_url
