"""Datasets in the tasks' OpenLineage events; Airflow finds the classes by ``AIRFLOW__OPENLINEAGE__EXTRACTORS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from openlineage.client import facet_v2
from openlineage.client.event_v2 import InputDataset, OutputDataset

from include.services import lineage
from include.services.lineage import Notes, Table

if TYPE_CHECKING:
    from include.data.schema import Result

SEVERITIES = {"error": "error", "repair": "warn", "warning": "warn"}  # OpenLineage has these two


@attr.define
class MLflowRunFacet(facet_v2.RunFacet):
    """The MLflow run that a task logged to."""

    runId: str  # noqa: N815

    _additional_skip_redact = ["runId"]


class PythonTaskExtractor(BaseExtractor):
    """Reports the notes of a ``@task`` function, never its source code."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the classes behind ``@task`` and ``@task.branch``."""
        return ["_PythonDecoratedOperator", "_BranchPythonDecoratedOperator"]

    def _execute_extraction(self) -> OperatorLineage:
        lineage.take()  # another task in this process may have left notes
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return the notes of a task that has succeeded or failed."""
        return to_lineage(lineage.take())


class PredictionExtractor(BaseExtractor):
    """Reports the rows, the model and the output of a ``ModelLoadAndPredictOperator``."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the operator's name."""
        return ["ModelLoadAndPredictOperator"]

    def _execute_extraction(self) -> OperatorLineage:
        operator, notes = self.operator, Notes()
        notes.inputs[lineage.locate_model(operator.model_uri, _server(operator))] = None
        if isinstance(operator.data, str):
            notes.inputs[lineage.locate(operator.data)] = None
        if operator.output_uri:
            notes.outputs[lineage.locate(operator.output_uri)] = None
        return to_lineage(notes)


class RegistrationExtractor(BaseExtractor):
    """Reports the logged model and the version that a ``CreateModelVersionOperator`` made of it."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the operator's name."""
        return ["CreateModelVersionOperator"]

    def _execute_extraction(self) -> OperatorLineage:
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return the model and its new version."""
        operator = self.operator
        registered = task_instance.xcom_pull(task_ids=task_instance.task_id, map_indexes=task_instance.map_index)
        if not registered:  # the task failed
            return OperatorLineage()
        version, server = registered["model_version"], _server(operator)
        made = lineage.locate_model(f"models:/{version['name']}/{version['version']}", server)
        source = lineage.locate_model(operator.source, server)
        return to_lineage(Notes({source: None}, {made: None}, mlflow_run_id=operator.run_id or ""))


def to_lineage(notes: Notes) -> OperatorLineage:
    """Return notes as OpenLineage datasets and facets."""
    inputs, outputs = [], []
    for dataset, table in notes.inputs.items():
        results = notes.checks.get(dataset, ())
        inputs.append(InputDataset(*dataset, facets=_describe(table), inputFacets=_assert(results)))
    for dataset, table in notes.outputs.items():
        outputs.append(OutputDataset(*dataset, facets=_describe(table), outputFacets=_count(table)))
    run_facets: dict[str, Any] = {"mlflow_run": MLflowRunFacet(notes.mlflow_run_id)} if notes.mlflow_run_id else {}
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=run_facets)


def _describe(table: Table | None) -> dict[str, Any]:
    """Return the facets of a table: its columns with types, its rows and missing cells."""
    if not table:
        return {}
    schema, metrics = facet_v2.schema_dataset, facet_v2.data_quality_metrics_dataset
    fields = [schema.SchemaDatasetFacetFields(name, type=type_) for name, type_ in table.columns.items()]
    missing = {name: metrics.ColumnMetrics(nullCount=count) for name, count in table.missing.items()}
    return {
        "schema": schema.SchemaDatasetFacet(fields=fields),
        "dataQualityMetrics": metrics.DataQualityMetricsDatasetFacet(columnMetrics=missing, rowCount=table.rows),
    }


def _count(table: Table | None) -> dict[str, Any]:
    module = facet_v2.output_statistics_output_dataset
    return {"outputStatistics": module.OutputStatisticsOutputDatasetFacet(rowCount=table.rows)} if table else {}


def _assert(results: tuple[Result, ...]) -> dict[str, Any]:
    """Return the facet with the results of the checks, if there are any."""
    module = facet_v2.data_quality_assertions_dataset
    assertions = [
        module.Assertion(
            assertion=result.check,
            success=not result.count,
            column=None if result.column == "all" else result.column,
            severity=SEVERITIES[result.severity],
        )
        for result in results
    ]
    return {"dataQualityAssertions": module.DataQualityAssertionsDatasetFacet(assertions=assertions)} if results else {}


def _server(operator: Any) -> str:
    from include.mlflow_provider.hooks.base import MLflowBaseHook

    return MLflowBaseHook(operator.mlflow_conn_id).server.base_url
