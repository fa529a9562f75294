"""``make lineage``: what predictions come from, by the tasks' OpenLineage events."""

from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from include.charts.lineage import Card, plot_lineage
from include.charts.style import render
from include.services.lineage import Dataset, locate, short_name
from include.services.lineage_graph import Graph, build_graph, find_predictions, read_events

MAX_SOURCES = 3  # of one task, as cards of their own


def show_lineage(events: Path, picture: Path, console: Console, uri: str | None = None) -> Graph:
    """Print and draw what a dataset comes from, and return the graph.

    :param events: a file of OpenLineage events, one per line
    :param picture: the PNG file to write
    :param uri: of the dataset; by default the predictions that were published last
    :raises LineageError: there are no events, or none of the dataset
    """
    graph = build_graph(read_events(events))
    dataset = locate(uri) if uri else find_predictions(graph)
    upstream = graph.upstream(dataset)
    console.print(f"[bold]{dataset.namespace}/{dataset.name}[/] comes from:", soft_wrap=True)
    console.print(tabulate(upstream))
    picture.write_bytes(render(plot_lineage(make_cards(upstream))))
    console.print(f"Drawn in {picture}", soft_wrap=True)
    return upstream


def tabulate(graph: Graph) -> Table:
    """Return one row per task: what it read and wrote, and its MLflow run."""
    columns = (Column(title, overflow="fold") for title in ("task", "read", "wrote", "MLflow run"))
    table = Table(*columns, show_lines=True)
    written = {dataset for step in graph.steps for dataset in step.outputs}
    for step in graph.steps:
        read = [short_name(dataset) if dataset in written else _describe(graph, dataset) for dataset in step.inputs]
        wrote = [_describe(graph, dataset) for dataset in step.outputs]
        table.add_row(*map(Text, (step.job, "\n".join(read), "\n".join(wrote), step.mlflow_run_id)))
    return table


def make_cards(graph: Graph) -> dict[Dataset, Card]:
    """Return the cards of the chart, each after its sources; many files that one task read share a card."""

    def card(dataset: Dataset, task: str = "", sources: tuple[Dataset, ...] = ()) -> Card:
        system = dataset.namespace.partition(":")[0]
        return Card(short_name(dataset), f"{system} · {graph.describe(dataset)}".rstrip(" ·"), task, sources)

    cards: dict[Dataset, Card] = {}
    for step in graph.steps:
        sources = [dataset for dataset in step.inputs if dataset not in cards]
        if len(sources) > MAX_SOURCES:
            cards[sources[0]] = Card(f"{len(sources)} files", f"{short_name(sources[0])}, \u2026")
        else:
            cards |= {dataset: card(dataset) for dataset in sources}
        known = tuple(dataset for dataset in step.inputs if dataset in cards)
        cards |= {dataset: card(dataset, step.job, known) for dataset in step.outputs}
    return cards


def _describe(graph: Graph, dataset: Dataset) -> str:
    return f"{short_name(dataset)}\n  {graph.describe(dataset)}".rstrip()
