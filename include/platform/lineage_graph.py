"""OpenLineage events as a graph: which task made a dataset, and from what."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from include.platform.lineage import Dataset


class LineageError(LookupError):
    """The events do not say what was asked for; the message names the remedy."""


@dataclass(frozen=True)
class Step:
    """One task that ran: its name (``dag.task``), what it read and wrote, the MLflow run that it logged to."""

    run_id: str
    job: str
    inputs: tuple[Dataset, ...]
    outputs: tuple[Dataset, ...]
    mlflow_run_id: str = ""

    @property
    def dag_id(self) -> str:
        """The DAG of the task."""
        return self.job.partition(".")[0]


@dataclass
class Graph:
    """The steps in the order in which they ended, and the facets of every dataset."""

    steps: list[Step] = field(default_factory=list)
    facets: dict[Dataset, dict[str, Any]] = field(default_factory=dict)

    @property
    def makers(self) -> dict[Dataset, Step]:
        """The step that wrote a dataset last."""
        return {dataset: step for step in self.steps for dataset in step.outputs}

    def upstream(self, dataset: Dataset) -> Graph:
        """Return the part of the graph that a dataset comes from, each step after those that it needs.

        :raises LineageError: if no step wrote the dataset
        """
        makers = self.makers
        if dataset not in makers:
            raise LineageError(
                f"no event says who wrote {dataset.name}: trigger feature_eng, which leads to predictions"
            )
        waiting, found = [makers[dataset]], dict[str, Step]()
        while waiting:
            step = waiting.pop()
            if step.run_id not in found:
                found[step.run_id] = step
                waiting += [makers[read] for read in step.inputs if read in makers]
        needs = {name: {makers[read].run_id for read in step.inputs if read in makers} for name, step in found.items()}
        steps = [found[name] for name in TopologicalSorter(needs).static_order()]
        return Graph([_only_used(step, steps, dataset) for step in steps], self.facets)

    def columns(self, dataset: Dataset) -> dict[str, str]:
        """Return the type of each column, as far as known."""
        fields = self._facet(dataset, "schema").get("fields", [])
        return {field["name"]: field.get("type", "") for field in fields}

    def rows(self, dataset: Dataset) -> int | None:
        """Return the number of rows, if known."""
        return self._facet(dataset, "dataQualityMetrics").get("rowCount")

    def checks(self, dataset: Dataset) -> list[dict[str, Any]]:
        """Return what each check of the dataset found: ``assertion``, ``column``, ``severity`` and ``success``."""
        return self._facet(dataset, "dataQualityAssertions").get("assertions", [])

    def _facet(self, dataset: Dataset, name: str) -> dict[str, Any]:
        return self.facets.get(dataset, {}).get(name, {})


def read_events(file: Path) -> list[dict[str, Any]]:
    """Return the events of a file with one a line, oldest first.

    :raises LineageError: if there is no such file
    """
    if not file.exists():
        raise LineageError(f"{file} is not there: run the DAGs (make demo) with OpenLineage on")
    return [json.loads(line) for line in file.read_text().splitlines()]


def build_graph(events: list[dict[str, Any]]) -> Graph:
    """Return the graph of all tasks that succeeded and read or wrote something."""
    graph = Graph()
    for event in events:
        inputs, outputs = event.get("inputs") or [], event.get("outputs") or []
        if event["eventType"] != "COMPLETE" or not (inputs or outputs):
            continue
        for described in (*inputs, *outputs):
            known = graph.facets.setdefault(_dataset(described), {})
            known |= (described.get("facets") or {}) | (described.get("inputFacets") or {})
        logged = event["run"]["facets"].get("mlflow_run", {}).get("runId", "")
        read, written = (tuple(map(_dataset, described)) for described in (inputs, outputs))
        graph.steps.append(Step(event["run"]["runId"], event["job"]["name"], read, written, logged))
    return graph


def find_predictions(graph: Graph) -> Dataset:
    """Return the predictions that were published last.

    :raises LineageError: if there are none
    """
    from include.platform.assets import PREDICTIONS
    from include.platform.lineage import locate

    folder = locate(PREDICTIONS.uri)
    for step in reversed(graph.steps):
        for dataset in step.outputs:
            if (
                dataset.namespace == folder.namespace
                and dataset.name.startswith(folder.name)
                and dataset.name.endswith(".csv")
            ):
                return dataset
    raise LineageError("no event tells of predictions: trigger feature_eng, which leads to them")


def _only_used(step: Step, steps: list[Step], last: Dataset) -> Step:
    """Leave out what a step wrote that nobody in the graph read."""
    read = {dataset for other in steps for dataset in other.inputs} | {last}
    return Step(
        step.run_id, step.job, step.inputs, tuple(name for name in step.outputs if name in read), step.mlflow_run_id
    )


def _dataset(described: dict[str, Any]) -> Dataset:
    return Dataset(described["namespace"], described["name"])
