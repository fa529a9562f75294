"""OpenLineage events as a graph: which task wrote a dataset, and what the task read."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from include.services.assets import PREDICTIONS
from include.services.lineage import Dataset, locate


class LineageError(LookupError):
    """The events do not contain the lineage; the message names the remedy."""


@dataclass(frozen=True)
class Step:
    """One task that succeeded: its name (``dag.task``), what it read and wrote, and the MLflow run it logged to."""

    run_id: str
    job: str
    inputs: tuple[Dataset, ...]
    outputs: tuple[Dataset, ...]
    mlflow_run_id: str = ""


@dataclass(frozen=True)
class Graph:
    """The steps in the order in which they ended, and the facets of every dataset."""

    steps: list[Step] = field(default_factory=list)
    facets: dict[Dataset, dict[str, Any]] = field(default_factory=dict)

    def upstream(self, dataset: Dataset) -> Graph:
        """Return the part of the graph that a dataset comes from; outputs that no step of it reads are left out.

        A dataset that was written several times comes from the last step that wrote it before it was read.

        :raises LineageError: no step wrote the dataset
        """
        steps: list[Step] = []
        wanted = {dataset}
        for step in reversed(self.steps):
            if written := tuple(output for output in step.outputs if output in wanted):
                steps.insert(0, replace(step, outputs=written))
                wanted = wanted.difference(written).union(step.inputs)
        if not steps:
            raise LineageError(f"no event names the task that wrote {dataset.name}: trigger feature_eng")
        return Graph(steps, self.facets)

    def columns(self, dataset: Dataset) -> dict[str, str]:
        """Return the type of each column, as far as known."""
        return {field["name"]: field.get("type", "") for field in self._facet(dataset, "schema").get("fields", [])}

    def rows(self, dataset: Dataset) -> int | None:
        """Return the number of rows, if known."""
        return self._facet(dataset, "dataQualityMetrics").get("rowCount")

    def checks(self, dataset: Dataset) -> list[dict[str, Any]]:
        """Return the result of each check of the dataset: ``assertion``, ``column``, ``severity`` and ``success``."""
        return self._facet(dataset, "dataQualityAssertions").get("assertions", [])

    def describe(self, dataset: Dataset) -> str:
        """Return what is known of a dataset: ``104 rows · 14 columns · 94 of 94 checks``."""
        rows, checks = self.rows(dataset), self.checks(dataset)
        known = [] if rows is None else [f"{rows} rows", f"{len(self.columns(dataset))} columns"]
        passed = [f"{sum(check['success'] for check in checks)} of {len(checks)} checks"] if checks else []
        return " · ".join(known + passed)

    def _facet(self, dataset: Dataset, name: str) -> dict[str, Any]:
        return self.facets.get(dataset, {}).get(name, {})


def read_events(file: Path) -> list[dict[str, Any]]:
    """Return the events of a file with one event per line, in the order of their time.

    :raises LineageError: the file does not exist
    """
    if not file.exists():
        raise LineageError(f"{file} does not exist: run the DAGs (make demo) with OpenLineage on")
    events = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):  # a task was killed while it wrote the event
            events.append(json.loads(line))
    return sorted(events, key=lambda event: event["eventTime"])


def build_graph(events: list[dict[str, Any]]) -> Graph:
    """Return the graph of all tasks that succeeded and read or wrote something."""
    graph = Graph()
    for event in (event for event in events if event["eventType"] == "COMPLETE"):
        read, written = (_read_side(graph, event.get(side) or []) for side in ("inputs", "outputs"))
        if read or written:
            logged = event["run"]["facets"].get("mlflow_run", {}).get("runId", "")
            graph.steps.append(Step(event["run"]["runId"], event["job"]["name"], read, written, logged))
    return graph


def _read_side(graph: Graph, described: list[dict[str, Any]]) -> tuple[Dataset, ...]:
    """Return the datasets of one side of an event, and add their facets to the graph."""
    datasets = tuple(Dataset(each["namespace"], each["name"]) for each in described)
    for dataset, each in zip(datasets, described, strict=True):
        graph.facets.setdefault(dataset, {}).update((each.get("facets") or {}) | (each.get("inputFacets") or {}))
    return datasets


def find_predictions(graph: Graph) -> Dataset:
    """Return the predictions that were published last.

    :raises LineageError: there are none
    """
    bucket, folder = locate(PREDICTIONS.uri)
    for dataset in (output for step in reversed(graph.steps) for output in step.outputs):
        if dataset.namespace == bucket and dataset.name.startswith(f"{folder}/") and dataset.name.endswith(".csv"):
            return dataset
    raise LineageError("no event names predictions: trigger feature_eng, which leads to them")
