"""The chart of the predictions: true and predicted value of every row, and the prediction interval."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from include.charts import style
from include.charts.style import DPI, INK, MISS, PAPER, PREDICTED, TRUE
from include.data.predictions import INTERVAL
from include.evaluation.scores import format_value
from include.spec import Problem

SIZE_INCHES = (10, 5)  # 1600 x 800 px
SPLITS = {"train": "training", "holdout": "holdout"}
BAND = "#f3ece1"
BETWEEN = "#f8dfc0"  # from the lower to the upper end of the interval
SHOWN = 300  # rows at most: each has 3.6 px beside an image
LEFT, RIGHT, BESIDE_IMAGE = 0.066, 0.975, 0.741  # of the figure: where the graph begins and ends
CUT_OUT, PHOTOGRAPH = (0.75, 0.02, 0.25, 0.96), (0.765, 0.1, 0.21, 0.8)  # a photograph has a margin


def plot_predictions(
    predictions: pd.DataFrame, problem: Problem, image: Path | None = None, model: str = "", total: int = 0
) -> Figure:
    """Draw true and predicted values as two lines; of a large table, a sample of the rows as dots.

    :param predictions: as :func:`include.data.predictions.compare` returns it, in any order
    :param image: JPEG or PNG shown in the right margin, if that file exists
    :param model: short description of the model
    :param total: rows of the table, if `predictions` are a sample of it
    :return: a figure of 1600 x 800 px; its errors and coverage are those of all `predictions`
    :raises ValueError: the image cannot be read
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER)
    right = BESIDE_IMAGE if image and image.exists() else RIGHT
    if image and image.exists():
        _show_image(figure, image)
    graph = figure.add_axes((LEFT, 0.12, right - LEFT, 0.61))
    ordered, is_numbered = _order_rows(predictions, problem)
    rows = style.thin(ordered, SHOWN)
    is_sample = len(rows) < len(ordered)
    _draw_rows(graph, _break_lines(rows) if is_numbered and not is_sample else rows, is_sample)
    _label_axes(graph, problem)
    _label_rows(graph, rows[problem.id], is_numbered)
    errors = _describe_errors(predictions, problem)
    scored = "RMSE of a sample" if total > len(ordered) else "RMSE"
    sampled = f"{scored}:  {errors}  \u00b7  showing {SHOWN} of {max(total, len(ordered)):,} rows"
    subtitle = sampled if is_sample else f"Prediction error (RMSE):  {errors}"
    style.write_heading(figure, _make_room(graph), right, problem.title, subtitle, model)
    return figure


def _describe_errors(predictions: pd.DataFrame, problem: Problem) -> str:
    """Return the root mean squared error of each split, over its rows with a true value."""
    parts = []
    for split, name in SPLITS.items():
        known = predictions[predictions["split"] == split].dropna(subset="true")
        rmse = format_value(np.sqrt(np.square(known["predicted"] - known["true"]).mean()), problem.unit)
        coverage = _describe_coverage(known) if split == "holdout" else ""  # the model has seen the training rows
        parts.append(f"{name} {rmse} (n = {len(known):,}{coverage})" if len(known) else f"no {name} rows to score")
    return "  \u00b7  ".join(parts)


def _describe_coverage(known: pd.DataFrame) -> str:
    known = known.dropna(subset=INTERVAL)
    covered = known["true"].between(known["lower"], known["upper"]).mean()
    return f", {100 * covered:.0f} % in interval" if len(known) else ""


def _order_rows(predictions: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, bool]:
    """Index the rows by their place on the x axis, and return whether that is a number that identifies them.

    That is the id if all ids are whole numbers without wide gaps, the place in the table if rows have no ids, and
    else the rank of the id.
    """
    rows, ids = predictions.reset_index(drop=True), predictions[problem.id]
    if problem.row_id is None:
        return rows.set_axis(rows.index + 1), True
    if ids.str.fullmatch(r"-?\d{1,15}").all():
        numbers = ids.astype("int64").to_numpy()
        if ids.nunique() == len(np.unique(numbers)) and np.ptp(numbers) <= 4 * len(numbers):
            return rows.set_axis(numbers).sort_index(), True
    return rows.sort_values(problem.id, key=lambda ids: ids.map(_natural_key), ignore_index=True), False


def _natural_key(identity: str) -> list[str | int]:
    """Put "house 2" before "house 10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", identity)]


def _break_lines(rows: pd.DataFrame) -> pd.DataFrame:
    """Insert an empty row behind the predecessor of an absent number."""
    return rows.reindex(rows.index.union(rows.index + 1)[:-1])


def _draw_rows(graph: Axes, rows: pd.DataFrame, is_sample: bool) -> None:
    """Draw the rows; those of a sample are not neighbours, and not connected."""
    size = 2.2 if is_sample else float(np.clip(380 / len(rows), 1.2, 3.6))  # points
    known, holdout = rows.dropna(subset=INTERVAL), rows[rows["split"] == "holdout"]
    if len(known):
        bar: dict[str, Any] = {"color": BETWEEN, "lw": size, "capstyle": "round", "zorder": 0.7}
        graph.vlines(known.index, known["lower"], known["upper"], **bar, label="90 % prediction interval")
    graph.vlines(rows.index, rows["true"], rows["predicted"], color=MISS, lw=size / 2, zorder=1)
    for column, colour in (("true", TRUE), ("predicted", PREDICTED)):
        lw = 0 if is_sample else 1.1
        graph.plot(rows[column], color=colour, lw=lw, marker="o", ms=size, mew=0, label=column)
    if len(holdout):
        full_height, lw = graph.get_xaxis_transform(), 0 if is_sample else 2 * size
        graph.vlines(holdout.index, 0, 1, transform=full_height, color=BAND, lw=lw, zorder=0.5)
        diamond: dict[str, Any] = {"marker": "D", "ms": size + 2, "mfc": PREDICTED, "mec": INK, "mew": 0.9}
        graph.plot(holdout["predicted"], ls="", **diamond, label="predicted, holdout row")
    graph.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=4, columnspacing=1.2, fontsize=10, **style.LEGEND)


def _label_axes(graph: Axes, problem: Problem) -> None:
    """Label the axes; show at least a fifth of the expected range, so that small differences look small."""
    x, y = style.cut(problem.row_id or "row", 40), style.cut(problem.target.label, 36)
    style.style_axes(graph, "", x, y, grid="y")
    low, high = graph.get_ylim()
    span = np.ptp(problem.target.expected) / 5
    middle, reach = (low + high) / 2, max(high - low, span if np.isfinite(span) else 0) / 2
    graph.set_ylim(middle - reach, middle + reach)
    style.show_numbers(graph.yaxis, ticks=8)


def _label_rows(graph: Axes, ids: pd.Series, is_numbered: bool) -> None:
    """Label as many rows as fit without touching."""
    beyond = max(0.9, np.ptp(ids.index) / 150)
    graph.set_xlim(ids.index[0] - beyond, ids.index[-1] + beyond)
    labels = ids.map(lambda identity: style.cut(identity, 20))
    longest = str(ids.index[-1]) if is_numbered else labels[labels.str.len().idxmax()]
    sample = graph.text(0, 0, longest, size=10)
    count = int(np.clip(graph.bbox.width / (1.3 * sample.get_window_extent().width), 1, 11))
    sample.remove()
    if is_numbered:
        graph.xaxis.set_major_locator(MaxNLocator(count, integer=True, min_n_ticks=1))
        graph.xaxis.set_major_formatter("{x:.0f}")
    else:
        step = -(-len(labels) // count)
        shown = labels[(len(labels) - 1) % step // 2 :: step]
        graph.set_xticks(shown.index, shown)


def _make_room(graph: Axes) -> float:
    """Move the left end of a graph so that its labels are within the figure, and return it."""
    box, labelled = graph.get_position(), graph.get_tightbbox()
    beyond = 0.012 - labelled.x0 / graph.figure.bbox.width if labelled else 0
    left = box.x0 + max(0, beyond)
    graph.set_position((left, box.y0, box.x1 - left, box.height))
    return left


def _show_image(figure: Figure, path: Path) -> None:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable image: replace it by a JPEG or PNG, or delete it") from error
    upright.thumbnail((800, 1600))
    pixels = np.asarray(upright)
    margin = figure.add_axes(PHOTOGRAPH if pixels[..., 3].min() == 255 else CUT_OUT)
    margin.imshow(pixels)
    margin.set_axis_off()
