"""What the charts share: colours, headings, axes, and how long texts and large tables are shortened."""

from io import BytesIO
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

DPI = 160
PAPER, INK, MUTED, GRID = "#fbf8f3", "#33302e", "#6f6964", "#e9e3da"
TRUE, PREDICTED = "#2f5d7c", "#dd8a2e"  # blue and orange: colour-blind readers can distinguish them
MISS = "#b9ab9a"
DASHED = (0, (4, 3))
LEGEND: dict[str, Any] = {"frameon": False, "labelcolor": INK}

# Names of columns, rows and categories may contain "$", which would start a formula.
matplotlib.rcParams["text.parse_math"] = False


def render(figure: Figure) -> bytes:
    """Return `figure` as the content of a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def write_heading(figure: Figure, left: float, right: float, title: str, subtitle: str, corner: str = "") -> None:
    """Write title, subtitle and a note in the right corner, between `left` and `right` (shares of the width)."""
    line, next_line = 1 - np.array([0.475, 0.775]) / figure.get_figheight()
    note = figure.text(right, line, cut(corner, 40), size=10.5, color=MUTED, ha="right")
    room = right - left - note.get_window_extent().width / figure.bbox.width - 0.01
    _write(figure, (left, line), title, room, size=18, weight="bold", color=INK)
    _write(figure, (left, next_line), subtitle, right - left, size=10.5, color=MUTED)


def _write(figure: Figure, place: tuple[float, float], text: str, room: float, **font: Any) -> None:
    """Write a text that takes at most `room` of the figure's width: down to 65 % of its size, and then cut."""
    written = figure.text(*place, text, **font)
    room *= figure.bbox.width
    written.set_fontsize(
        font["size"] * float(np.clip(0.98 * room / max(written.get_window_extent().width, 1), 0.65, 1))
    )
    while (width := written.get_window_extent().width) > room and len(text) > 1:
        text = cut(text, int(len(text) * room / width))
        written.set_text(text)


def style_axes(
    graph: Axes, title: str, x: str, y: str, grid: Literal["x", "y", "both"] = "both", size: float = 10
) -> None:
    """Give a graph its title, labels, grid and colours; `size` is that of the tick labels (points)."""
    graph.set_title(title, loc="left", size=size + 2.5, weight="bold", color=INK, pad=10)
    # A long label ends where the axis does, and begins below the tick labels of the other one.
    graph.set_xlabel(x, size=size + 0.5, color=INK, labelpad=6, loc="right" if len(x) > 40 else "center")
    graph.set_ylabel(y, size=size + 0.5, color=INK, labelpad=6)
    graph.tick_params(length=0, labelsize=size, labelcolor=MUTED, pad=5)
    graph.grid(axis=grid, color=GRID, lw=1)
    graph.spines[:].set_visible(False)
    graph.set(axisbelow=True, facecolor=PAPER)


def write_instead(graph: Axes, title: str, text: str, size: float = 10) -> None:
    """Write a text where there is nothing to draw."""
    style_axes(graph, title, "", "", size=size)
    graph.text(0.5, 0.5, text, ha="center", va="center", size=10, color=MUTED, transform=graph.transAxes)
    graph.set(xticks=[], yticks=[])


def list_names(graph: Axes, names: list[str]) -> None:
    """Put names beside a graph, the last one on top; many are small, and few leave room below."""
    graph.set_yticks(range(len(names)), names)
    graph.set_ylim(len(names) - max(len(names), 6) - 0.6, len(names) - 0.4)
    graph.tick_params(axis="y", labelsize=float(np.clip(150 / len(names), 7.5, 9.5)))


def show_numbers(*axes: Axis, ticks: int = 6) -> None:
    """Label axes with at most `ticks` + 1 round numbers, such as 0.25 or 350,000."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(lambda value, _: format_tick(value))


def format_tick(value: float) -> str:
    """Return a number without superfluous digits; from 10,000 on with commas, so that years have none."""
    return (f"{value:,.10g}" if abs(value) >= 10_000 else f"{value:.10g}").replace("-", "\u2212")


def with_unit(text: str, unit: str) -> str:
    """Return ``RMSE (cm)``, or the text alone if there is no unit."""
    return f"{text} ({unit})" if unit else text


def name_part(title: str, which: str, shown: int, total: int) -> str:
    """Return a title that says if only a part is shown: ``RMSE by subgroup: worst 15 of 48``."""
    return f"{title}: {which} {shown} of {total}" if shown < total else title


def cut(text: str, most: int) -> str:
    """Return the text on one line, with an ellipsis if it is longer than `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: max(most - 1, 1)].rstrip() + "\u2026"


def thin(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` rows, evenly spaced over the table."""
    return rows if len(rows) <= most else rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]
