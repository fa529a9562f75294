"""The picture of the pipeline: true and predicted tail length of every animal, its interval, and a possum."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from include.charts.possum_drawing import draw_possum
from include.charts.style import DPI, GRID, INK, MISS, MUTED, PAPER, PREDICTED, TRUE
from include.config import CASE, SPLIT
from include.data.predictions import INTERVAL

SIZE_INCHES = (10, 5)  # 1600 x 800 px
COLUMNS = [CASE, "true", "predicted", SPLIT]
SPLITS = {"train": "training", "holdout": "holdout"}
BAND = "#f3ece1"
BETWEEN = "#f8dfc0"  # from the lower to the upper end of the interval
LEAST_SPAN = 4  # cm on the y axis, so that a few animals do not look far apart
LEFT, RIGHT = 0.066, 0.741  # of the figure: where heading, legend and graph begin and end


def plot_tail_lengths(predictions: pd.DataFrame, picture: Path | None = None, model: str = "") -> Figure:
    """Draw true and predicted tail length of every animal as two lines, with a possum in the right margin.

    :param predictions: one row an animal, in any order, with the columns ``case`` (number or name), ``true``
        (cm, empty where unknown), ``predicted`` (cm) and ``split`` ("train" or "holdout"), and, if the model gives
        intervals, ``lower`` and ``upper`` (cm): the ends of the 90 % prediction interval
    :param picture: an image shown in place of the drawn possum, if that file exists
    :param model: what predicted, in a few words
    :return: a figure of 1600 x 800 px
    :raises ValueError: if a column or number is missing, a case is there twice, an interval is upside down or the
        picture is unreadable
    """
    animals = _check(predictions)
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER)
    figure.text(LEFT, 0.905, "How long is a possum\u2019s tail?", size=18, weight="bold", color=INK)
    figure.text(LEFT, 0.845, _describe_errors(animals), size=10.5, color=MUTED)
    figure.text(RIGHT, 0.905, model, size=10.5, color=MUTED, ha="right")
    _draw_graph(figure.add_axes((LEFT, 0.12, RIGHT - LEFT, 0.61)), _order_by_case(animals))
    _show_possum(figure.add_axes((0.75, 0.02, 0.25, 0.96)), picture)
    return figure


def _check(predictions: pd.DataFrame) -> pd.DataFrame:
    """The columns of `predictions` with all lengths as floats, or a ValueError that names what is wrong."""
    if missing := [column for column in COLUMNS if column not in predictions]:
        raise ValueError(f"predictions have no column {', '.join(missing)}: pass {', '.join(COLUMNS)}")
    if predictions.empty:
        raise ValueError("predictions have no rows: pass at least one animal")
    given = predictions.reindex(columns=["true", "predicted", *INTERVAL])
    lengths = given.apply(pd.to_numeric, errors="coerce").astype(float)
    case, split = predictions[CASE], predictions[SPLIT]
    no_number = ~np.isfinite(lengths["true"]) & predictions["true"].notna()
    _reject(case[case.isna()], "is no identity: give every row its case")
    # 1, 1.0 and "1" are one animal
    identity = pd.to_numeric(case, errors="coerce").astype(object).fillna(case)
    _reject(case[identity.duplicated()], "appears more than once: keep one row an animal")
    _reject(case[~split.isin(list(SPLITS))], f"is in no known split: set it to {' or '.join(SPLITS)}")
    _reject(case[~np.isfinite(lengths["predicted"])], "has no predicted length: predict it or drop its row")
    _reject(case[no_number], "has a true length that is no number: correct it or leave it empty")
    _reject(case[lengths["lower"] > lengths["upper"]], "has an interval that ends below its beginning: swap its ends")
    return lengths.assign(**{CASE: case, SPLIT: split})


def _reject(cases: pd.Series, fault: str) -> None:
    if len(cases):
        raise ValueError(f"case {', '.join(map(str, cases.unique()[:5]))} {fault}")


def _describe_errors(animals: pd.DataFrame) -> str:
    """Root mean squared error (cm) of each split, over its animals with a true length."""
    squares = (animals["predicted"] - animals["true"]) ** 2
    parts = []
    for split, name in SPLITS.items():
        known = squares[animals[SPLIT] == split].dropna()
        count = f"n = {len(known)}{_describe_coverage(animals, split)}"
        parts.append(
            f"{name} {np.sqrt(known.mean()):.2f} cm ({count})" if len(known) else f"no {name} animals to score"
        )
    return "Prediction error (RMSE):  " + "  ·  ".join(parts)


def _describe_coverage(animals: pd.DataFrame, split: str) -> str:
    """Tell how many holdout animals lie in their interval; a model knows the training animals too well to ask."""
    known = animals[(animals[SPLIT] == split) & (split == "holdout")].dropna(subset=["true", *INTERVAL])
    held = int(known["true"].between(known["lower"], known["upper"]).sum())
    return f", {held} in interval" if len(known) else ""


def _order_by_case(animals: pd.DataFrame) -> pd.DataFrame:
    """Index the animals by their place on the x axis, which the index's name describes.

    That is the case number, or the rank of its name if any case is not a whole number. An absent number
    leaves an empty row behind its predecessor, which breaks the lines there.
    """
    numbers = pd.to_numeric(animals[CASE], errors="coerce")
    if not (numbers % 1 == 0).all():
        names = animals.sort_values(CASE, key=lambda cases: cases.map(_natural_key))
        return names.reset_index(drop=True).rename_axis("case")
    placed = animals.set_index(numbers.astype(int)).rename_axis("case number")
    return placed.reindex(placed.index.union(placed.index + 1)[:-1])


def _natural_key(case: object) -> list[str | int]:
    """Put "possum 2" before "possum 10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(case))]


def _draw_graph(graph: Axes, animals: pd.DataFrame) -> None:
    dot = float(np.clip(380 / len(animals), 1.2, 3.6))  # points: smaller when animals crowd
    _draw_intervals(graph, animals.dropna(subset=INTERVAL), dot)
    graph.vlines(animals.index, animals["true"], animals["predicted"], color=MISS, lw=2, zorder=1)
    for column, colour in (("true", TRUE), ("predicted", PREDICTED)):
        graph.plot(animals[column], color=colour, lw=1.1, marker="o", ms=dot, mew=0, label=f"{column} length")
    _mark_holdout(graph, animals[animals[SPLIT] == "holdout"], dot)
    graph.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1),
        ncols=4,
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        columnspacing=1.2,
    )
    _label_axes(graph, animals)
    _label_animals(graph, animals)


def _draw_intervals(graph: Axes, known: pd.DataFrame, dot: float) -> None:
    if known.empty:
        return
    bar: dict[str, Any] = {"color": BETWEEN, "lw": dot, "capstyle": "round", "zorder": 0.7}
    graph.vlines(known.index, known["lower"], known["upper"], **bar, label="90 % interval")


def _mark_holdout(graph: Axes, holdout: pd.DataFrame, dot: float) -> None:
    if holdout.empty:
        return
    full_height = graph.get_xaxis_transform()
    graph.vlines(holdout.index, 0, 1, transform=full_height, color=BAND, lw=2 * dot, zorder=0.5)
    diamond: dict[str, Any] = {"marker": "D", "ms": dot + 2, "mfc": PREDICTED, "mec": INK, "mew": 0.9}
    graph.plot(holdout["predicted"], ls="", **diamond, label="predicted, holdout animal")


def _label_axes(graph: Axes, animals: pd.DataFrame) -> None:
    graph.set_xlabel(f"animal ({animals.index.name})", size=10.5, color=INK, labelpad=6)
    graph.set_ylabel("tail length (cm)", size=10.5, color=INK, labelpad=8)
    graph.tick_params(length=0, labelsize=10, labelcolor=MUTED, pad=6)
    low, high = graph.get_ylim()
    middle, reach = (low + high) / 2, max(high - low, LEAST_SPAN) / 2
    graph.set_ylim(middle - reach, middle + reach)
    graph.yaxis.set_major_locator(MaxNLocator(7, integer=True))
    graph.grid(axis="y", color=GRID, lw=1)
    graph.spines[:].set_visible(False)
    graph.set(axisbelow=True, facecolor=PAPER)


def _label_animals(graph: Axes, animals: pd.DataFrame) -> None:
    """Label as many animals as fit without touching, about 80 characters in all."""
    graph.set_xlim(animals.index[0] - 0.9, animals.index[-1] + 0.9)
    labels = animals[CASE].dropna().astype(str)
    count = min(11, max(1, 80 // labels.str.len().max()))
    if animals.index.name == "case":
        shown = labels[:: -(-len(labels) // count)]
        graph.set_xticks(shown.index, shown)
    else:
        graph.xaxis.set_major_locator(MaxNLocator(count, integer=True, min_n_ticks=1))
        graph.xaxis.set_major_formatter("{x:.0f}")


def _show_possum(margin: Axes, picture: Path | None) -> None:
    if picture is None or not picture.exists():
        draw_possum(margin)
        return
    try:
        with Image.open(picture) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        remedy = "replace it by a JPEG or PNG, or delete it"
        raise ValueError(f"{picture} is no readable picture: {remedy}") from error
    upright.thumbnail((800, 1600))
    margin.imshow(np.asarray(upright))
    margin.set_position((0.765, 0.1, 0.21, 0.8))
    margin.set_axis_off()
