"""Datasets in the tasks' OpenLineage events; Airflow finds the classes by ``AIRFLOW__OPENLINEAGE__EXTRACTORS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from openlineage.client import facet_v2
from openlineage.client.event_v2 import InputDataset, OutputDataset

from include.platform import lineage
from include.platform.lineage import Dataset, Notes, Table

if TYPE_CHECKING:
    from include.data.checks import Result

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
        operator = self.operator
        inputs: dict[Dataset, Table | None] = {lineage.locate_model(operator.model_uri, _server(operator)): None}
        if isinstance(operator.data, str):
            inputs[lineage.locate(operator.data)] = None
        outputs = [lineage.locate(operator.output_uri)] if operator.output_uri else []
        return to_lineage(Notes(inputs, dict.fromkeys(outputs)))


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
        server = _server(self.operator)
        registered = task_instance.xcom_pull(task_ids=task_instance.task_id, map_indexes=task_instance.map_index)
        version = registered["model_version"]
        made = lineage.locate_model(f"models:/{version['name']}/{version['version']}", server)
        source = lineage.locate_model(self.operator.source, server)
        return to_lineage(Notes({source: None}, {made: None}, mlflow_run_id=self.operator.run_id or ""))

    def extract_on_failure(self, task_instance: Any) -> OperatorLineage:
        """Return nothing: there is no version."""
        return OperatorLineage()


def to_lineage(notes: Notes) -> OperatorLineage:
    """Return notes as OpenLineage datasets and facets."""
    checks = notes.checks
    return OperatorLineage(
        inputs=[_input(dataset, table, checks.get(dataset, ())) for dataset, table in notes.inputs.items()],
        outputs=[_output(dataset, table) for dataset, table in notes.outputs.items()],
        run_facets={"mlflow_run": MLflowRunFacet(notes.mlflow_run_id)} if notes.mlflow_run_id else {},
    )


def _input(dataset: Dataset, table: Table | None, checks: tuple[Result, ...]) -> InputDataset:
    facets: dict[str, Any] = {}
    if table:
        module = facet_v2.data_quality_metrics_input_dataset
        columns = {name: module.ColumnMetrics(nullCount=count) for name, count in table.missing.items()}
        facets["dataQualityMetrics"] = module.DataQualityMetricsInputDatasetFacet(
            columnMetrics=columns, rowCount=table.rows
        )
    if checks:
        asserted = facet_v2.data_quality_assertions_dataset
        assertions = [
            asserted.Assertion(
                assertion=result.check,
                success=not result.count,
                column=None if result.column == "all" else result.column,
                severity=SEVERITIES[result.severity],
            )
            for result in checks
        ]
        facets["dataQualityAssertions"] = asserted.DataQualityAssertionsDatasetFacet(assertions=assertions)
    return InputDataset(*dataset, facets=_schema(table), inputFacets=facets)


def _output(dataset: Dataset, table: Table | None) -> OutputDataset:
    if not table:
        return OutputDataset(*dataset)
    module = facet_v2.data_quality_metrics_dataset
    columns = {name: module.ColumnMetrics(nullCount=count) for name, count in table.missing.items()}
    metrics = module.DataQualityMetricsDatasetFacet(columnMetrics=columns, rowCount=table.rows)
    written = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=table.rows)
    facets = {**_schema(table), "dataQualityMetrics": metrics}
    return OutputDataset(*dataset, facets=facets, outputFacets={"outputStatistics": written})


def _schema(table: Table | None) -> dict[str, Any]:
    module, columns = facet_v2.schema_dataset, table.columns if table else {}
    fields = [module.SchemaDatasetFacetFields(name, type=type_) for name, type_ in columns.items()]
    return {"schema": module.SchemaDatasetFacet(fields=fields)} if fields else {}


def _server(operator: Any) -> str:
    from include.mlflow_provider.hooks.base import MLflowBaseHook

    return MLflowBaseHook(operator.mlflow_conn_id).server.base_url
