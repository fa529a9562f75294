"""``make lineage``: where predictions come from, by the tasks' OpenLineage events."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from include.platform import lineage_graph as graph
from include.platform.lineage import Dataset, locate, short_name
from include.platform.lineage_graph import Graph, Step


def show_lineage(events: Path, picture: Path, console: Console, uri: str | None = None) -> Graph:
    """Print what a dataset comes from, draw it, and return the graph.

    :param events: a file of OpenLineage events, one a line
    :param picture: the PNG file to write
    :param uri: of the dataset; the predictions that were published last if not given
    :raises LineageError: there are no events, or they say nothing of the dataset
    """
    from include.charts.lineage import plot_lineage
    from include.charts.style import render

    whole = graph.build_graph(graph.read_events(events))
    last = locate(uri) if uri else graph.find_predictions(whole)
    found = whole.upstream(last)
    console.print(f"[bold]{last.namespace}/{last.name}[/] comes from:", soft_wrap=True)
    console.print(tabulate(found))
    picture.write_bytes(render(plot_lineage(found)))
    console.print(f"Drawn in {picture}", soft_wrap=True)
    return found


def tabulate(found: Graph) -> Table:
    """Return one row a task: what it read and wrote, with rows and columns, and its MLflow run."""
    table = Table(
        *(Column(title, overflow="fold") for title in ("task", "read", "wrote", "MLflow run")), show_lines=True
    )
    for step in found.steps:
        table.add_row(*(Text(cell) for cell in _cells(found, step)))
    return table


def _cells(found: Graph, step: Step) -> list[str]:
    read = [short_name(dataset) if dataset in found.makers else _say(found, dataset) for dataset in step.inputs]
    wrote = [_say(found, dataset) for dataset in step.outputs]
    return [step.job, "\n".join(read), "\n".join(wrote), step.mlflow_run_id]


def _say(found: Graph, dataset: Dataset) -> str:
    rows, checks = found.rows(dataset), found.checks(dataset)
    size = [] if rows is None else [f"{rows} x {len(found.columns(dataset))}"]
    passed = [f"{sum(check['success'] for check in checks)} of {len(checks)} checks"] if checks else []
    return "\n  ".join([short_name(dataset), ", ".join(size + passed)]).rstrip()
