"""The picture of the lineage: every dataset, from top to bottom, and between them the tasks that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from include.charts.style import DPI, INK, MISS, MUTED, PAPER, PREDICTED, TRUE
from include.platform.lineage import Dataset, short_name
from include.platform.lineage_graph import Graph, Step

Node = Dataset | str  # a dataset, or the id of a step's run
Place = tuple[int, int]  # column and row
Point = tuple[float, float]  # inches from the left and from the top
Size = tuple[float, float]  # width and height, inches

COLUMN, ROW = 3.4, 0.66  # inches from one to the next
CARD, PILL = (2.9, 0.5), (2.1, 0.26)  # datasets and tasks
DETOUR = 0.2  # inches beside a card, for arrows that pass it
TOP, SIDE = 1.35, 0.3  # margins, inches
DAG_COLOURS = (TRUE, PREDICTED, "#5b8a5a", "#8a5a83", MUTED)


def plot_lineage(graph: Graph) -> Figure:
    """Draw where a dataset comes from.

    :param graph: as :meth:`include.platform.lineage_graph.Graph.upstream` returns it
    """
    places = place_nodes(graph.steps)
    columns = 1 + max(column for column, _ in places.values())
    rows = 1 + max(row for _, row in places.values())
    size = (columns * COLUMN + 2 * SIDE, rows * ROW + TOP + SIDE)
    figure = Figure(figsize=size, dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    colours = _colour_dags(sorted(graph.steps, key=lambda step: places[step.run_id][1]))
    _draw_heading(axes, graph, colours)
    points = {node: (SIDE + (column + 0.5) * COLUMN, TOP + (row + 0.5) * ROW) for node, (column, row) in places.items()}
    for step in graph.steps:
        _draw_step(axes, step, points, colours[step.dag_id])
    for dataset in (node for node in points if isinstance(node, Dataset)):
        _draw_dataset(axes, graph, dataset, points[dataset])
    return figure


def place_nodes(steps: Iterable[Step]) -> dict[Node, Place]:
    """Return column and row of every dataset and step: each as far down as what follows allows.

    The longest way is the first column; each way that joins it from the side has a column of its own.
    """
    after = _successors(steps)
    heights: dict[Node, int] = {}
    for node in after:
        _measure(node, after, heights)
    downwards = sorted(heights, key=lambda node: heights[node], reverse=True)
    columns: dict[Node, int] = {}
    for node in downwards:
        if node not in columns:
            column = 1 + max(columns.values(), default=-1)
            columns |= dict.fromkeys(_follow(node, after, heights, columns), column)
    return {node: (columns[node], heights[downwards[0]] - heights[node]) for node in downwards}


def _follow(
    node: Node, after: Mapping[Node, list[Node]], heights: Mapping[Node, int], columns: Mapping[Node, int]
) -> list[Node]:
    """Return the longest way down from a node, up to where it joins one that has its column already."""
    way = [node]
    while following := after[way[-1]]:
        longest = max(following, key=lambda other: heights[other])
        if longest in columns:
            break
        way.append(longest)
    return way


def _successors(steps: Iterable[Step]) -> dict[Node, list[Node]]:
    after: dict[Node, list[Node]] = {}
    for step in steps:
        after.setdefault(step.run_id, []).extend(step.outputs)
        for dataset in step.inputs:
            after.setdefault(dataset, []).append(step.run_id)
        for dataset in step.outputs:
            after.setdefault(dataset, [])
    return after


def _measure(node: Node, after: Mapping[Node, list[Node]], heights: dict[Node, int]) -> int:
    """Return how many nodes follow on the longest way down, and remember it."""
    if node not in heights:
        heights[node] = 1 + max((_measure(other, after, heights) for other in after[node]), default=-1)
    return heights[node]


def _colour_dags(steps: Iterable[Step]) -> dict[str, str]:
    names = list(dict.fromkeys(step.dag_id for step in steps))
    return {name: DAG_COLOURS[min(index, len(DAG_COLOURS) - 1)] for index, name in enumerate(names)}


def _draw_heading(axes: Axes, graph: Graph, colours: Mapping[str, str]) -> None:
    axes.text(
        SIDE + (COLUMN - CARD[0]) / 2, 0.48, "Where do the predictions come from?", size=18, weight="bold", color=INK
    )
    datasets = {dataset for step in graph.steps for dataset in (*step.inputs, *step.outputs)}
    axes.text(
        SIDE + (COLUMN - CARD[0]) / 2,
        0.78,
        f"{len(datasets)} datasets, {len(graph.steps)} tasks",
        size=10.5,
        color=MUTED,
    )
    for index, (name, colour) in enumerate(colours.items()):
        axes.text(SIDE + (COLUMN - CARD[0]) / 2 + 1.4 * index, 1.12, f"\u25cf {name}", size=10.5, color=colour)


def _draw_step(axes: Axes, step: Step, points: Mapping[Node, Point], colour: str) -> None:
    point = points[step.run_id]
    for dataset in step.inputs:
        _connect(axes, points[dataset], point, CARD, PILL)
    for dataset in step.outputs:
        _connect(axes, point, points[dataset], PILL, CARD)
    _box(axes, point, PILL, colour, colour)
    axes.text(*point, step.job.rpartition(".")[2], size=9, color="white", ha="center", va="center", zorder=3)


def _draw_dataset(axes: Axes, graph: Graph, dataset: Dataset, point: Point) -> None:
    _box(axes, point, CARD, "white", MISS)
    x, y = point
    axes.text(
        x,
        y - 0.08,
        _shorten(short_name(dataset)),
        size=10.5,
        weight="bold",
        color=INK,
        ha="center",
        va="center",
        zorder=3,
    )
    axes.text(x, y + 0.12, _say(graph, dataset), size=8.5, color=MUTED, ha="center", va="center", zorder=3)


def _say(graph: Graph, dataset: Dataset) -> str:
    rows, columns, checks = graph.rows(dataset), graph.columns(dataset), graph.checks(dataset)
    said = [dataset.namespace.partition(":")[0]]
    said += [f"{rows} rows", f"{len(columns)} columns"] if rows is not None else []
    said += [f"{sum(check['success'] for check in checks)} of {len(checks)} checks"] if checks else []
    return " \u00b7 ".join(said)


def _connect(axes: Axes, start: Point, end: Point, first: Size, second: Size) -> None:
    """Draw an arrow from a box to one further down, around whatever stands between them."""
    way = Path(_route(start, end, first, second))
    axes.add_patch(
        FancyArrowPatch(path=way, arrowstyle="-|>", mutation_scale=11, color=MISS, linewidth=1.3, fill=False, zorder=1)
    )


def _route(start: Point, end: Point, first: Size, second: Size) -> list[Point]:
    (x, y), (to_x, to_y) = start, end
    if to_x > x:  # out to the side, then down
        return [(x + first[0] / 2, y), (to_x, y), (to_x, to_y - second[1] / 2)]
    if to_x < x:  # down, then in from the side
        return [(x, y + first[1] / 2), (x, to_y), (to_x + second[0] / 2, to_y)]
    if to_y - y < 1.5 * ROW:
        return [(x, y + first[1] / 2), (to_x, to_y - second[1] / 2)]
    beside = x - CARD[0] / 2 - DETOUR
    return [(x - first[0] / 2, y), (beside, y), (beside, to_y), (to_x - second[0] / 2, to_y)]


def _box(axes: Axes, point: Point, size: Size, colour: str, edge: str) -> None:
    (x, y), (width, height) = point, size
    corner = (x - width / 2, y - height / 2)
    style = f"round,pad=0,rounding_size={height / 4}"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor=edge, zorder=2))


def _shorten(name: str, length: int = 28) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}\u2026"
