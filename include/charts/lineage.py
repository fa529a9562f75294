"""The chart of a lineage: every dataset is a card under the name of the task that wrote it, from top to bottom."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from include.charts.style import DPI, INK, MISS, MUTED, PAPER, PREDICTED, TRUE, cut, write_heading

Point = tuple[float, float]  # inches from the left and from the top

COLUMN, ROW = 3.4, 1.05  # inches from one card to the next
WIDTH, HEIGHT, TAB = 2.9, 0.6, 0.24  # inches: a card, and the tab with the name of its task
TOP, SIDE = 1.4, 0.35  # margins, inches
LEFT = SIDE + (COLUMN - WIDTH) / 2  # of the first card, inches
COLOURS = (TRUE, PREDICTED, "#5b8a5a", "#8a5a83")


@dataclass(frozen=True)
class Card:
    """A dataset in the chart: what it is, the task that wrote it (``dag.task``), and the keys of what the task read."""

    name: str
    details: str
    task: str = ""
    sources: tuple[Any, ...] = ()


def plot_lineage(cards: Mapping[Any, Card]) -> Figure:
    """Draw where the last of the cards comes from.

    :param cards: each after its sources
    """
    places = place_cards(cards)
    columns, rows = (1 + max(numbers) for numbers in zip(*places.values(), strict=True))
    width, height = columns * COLUMN + 2 * SIDE, rows * ROW + TOP + SIDE
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    tasks = {card.task for card in cards.values() if card.task}
    title = f"Where does {list(cards.values())[-1].name} come from?"
    write_heading(figure, LEFT / width, 1 - SIDE / width, title, f"{len(cards)} datasets, {len(tasks)} tasks")
    dags = dict.fromkeys(card.task.partition(".")[0] for card in cards.values() if card.task)
    colours = dict(zip(dags, cycle(COLOURS), strict=False))
    legend = [Line2D([], [], color=colour, marker="o", ls="", label=dag) for dag, colour in colours.items()]
    style: dict[str, Any] = {"frameon": False, "labelcolor": "linecolor", "handlelength": 0.7, "borderpad": 0}
    axes.legend(handles=legend, loc=(LEFT / width, 1 - 1.13 / height), ncols=len(legend), fontsize=10.5, **style)
    points = {key: (SIDE + (x + 0.5) * COLUMN, TOP + (y + 0.5) * ROW) for key, (x, y) in places.items()}
    for key, card in cards.items():
        for source in card.sources:
            _draw_arrow(axes, points[source], points[key])
        _draw_card(axes, card, points[key], colours.get(card.task.partition(".")[0], MUTED))
    return figure


def place_cards(cards: Mapping[Any, Card]) -> dict[Any, tuple[int, int]]:
    """Return column and row of every card, as far down as the cards that come from it allow.

    The longest path is the first column; others are in the first column with room for them and the arrows to them.
    """
    depths = dict.fromkeys(cards, 0)  # cards on the longest path below
    for key in reversed(list(cards)):
        for source in cards[key].sources:
            depths[source] = max(depths[source], depths[key] + 1)
    rows = {key: max(depths.values()) - depth for key, depth in depths.items()}
    above = {key: [rows[source] for source in card.sources] for key, card in cards.items()}
    filled: list[int] = []  # the last row of every column
    places: dict[Any, tuple[int, int]] = {}
    for key in sorted(cards, key=lambda key: (rows[key], -max(above[key], default=-1))):
        row = rows[key]
        top = min([row, *above[key]])  # where arrows to the card begin
        free = (column for column, last in enumerate(filled) if last < (top if column else row))
        column = next(free, len(filled))
        filled[column : column + 1] = [row]
        places[key] = column, row
    return places


def _draw_card(axes: Axes, card: Card, centre: Point, colour: str) -> None:
    x, y = centre
    for middle, height, face, edge in ((y, HEIGHT, "white", MISS), (y - HEIGHT / 2, TAB, colour, colour)):
        corner, shape = (x - WIDTH / 2, middle - height / 2), f"round,pad=0,rounding_size={height / 4}"
        axes.add_patch(FancyBboxPatch(corner, WIDTH, height, shape, facecolor=face, edgecolor=edge, zorder=2))
    font = {"ha": "center", "va": "center", "zorder": 3}
    axes.text(x, y - HEIGHT / 2, card.task.rpartition(".")[2] or "source", font, size=8.5, color="white")
    axes.text(x, y, cut(card.name, 26), font, size=10.5, color=INK, weight="bold")
    axes.text(x, y + 0.18, cut(card.details, 48), font, size=8.5, color=MUTED)


def _draw_arrow(axes: Axes, start: Point, end: Point) -> None:
    """Draw an arrow from a card to the tab of one further down, around the cards between them."""
    (x, y), (to_x, to_y), half = start, (end[0], end[1] - HEIGHT / 2), WIDTH / 2
    below, above = (x, y + HEIGHT / 2), (to_x, to_y - TAB / 2)
    if to_x > x:
        ends, route = ((x + half, y), above), "angle,angleA=0,angleB=90,rad=16"
    elif to_x < x:
        ends, route = (below, (to_x + half, to_y)), "angle,angleA=90,angleB=0,rad=16"
    elif to_y - y < ROW:
        ends, route = (below, above), "arc3"
    else:
        ends, route = ((x - half, y), (to_x - half, to_y)), "arc,angleA=180,angleB=180,armA=36,armB=36,rad=16"
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(*ends, connectionstyle=route, color=MISS, zorder=1, **style))
