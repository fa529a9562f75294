"""The picture of monitoring: how far each input has moved, and whether the champion errs more than it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from include.charts.style import DPI, GRID, INK, MUTED, PAPER, PREDICTED, TRUE
from include.config import NUMERIC

SIZE_INCHES = (10, 6.25)  # 1600 x 1000 px
LEFT = 0.04  # of the figure: where the headings begin
UNITS = dict.fromkeys(NUMERIC, "mm") | {"age": "years", "totlngth": "cm", "chest": "cm", "belly": "cm"}
GROUPS = {"holdout": TRUE, "recent": PREDICTED}


def plot_monitoring(
    training: pd.DataFrame,
    recent: pd.DataFrame,
    drift: pd.DataFrame,
    errors: pd.DataFrame,
    decay: Mapping[str, float],
    *,
    title: str,
    least_psi: float,
) -> Figure:
    """Draw the drift of every input, the values of the two that moved most, and the errors then and now.

    What could not be measured is an empty table, and its part of the picture says so.

    :param training: the raw rows that the model learned from
    :param recent: the raw rows that it met lately
    :param drift: as ``drift.measure_drift`` returns it
    :param errors: columns ``error`` (predicted minus true, cm) and ``animals`` ("holdout" or "recent")
    :param decay: as ``drift.measure_decay`` returns it
    :param title: which version this is about
    :param least_psi: where a PSI begins to matter
    :return: a figure of 1600 x 1000 px
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER)
    figure.text(LEFT, 0.93, "Does the model still know its possums?", size=18, weight="bold", color=INK)
    figure.text(LEFT, 0.888, title, size=10.5, color=MUTED)
    _draw_drift(figure.add_axes((0.115, 0.1, 0.34, 0.66)), drift, least_psi)
    moved = (drift["psi"] - drift["psi_by_chance"]).nlargest(2).index if len(drift) else []
    for name, left in zip(moved, (0.575, 0.795), strict=False):
        _draw_values(figure.add_axes((left, 0.51, 0.175, 0.25)), training[name], recent[name])
    _draw_errors(figure.add_axes((0.63, 0.1, 0.34, 0.22)), errors, decay)
    return figure


def _draw_drift(graph: Axes, drift: pd.DataFrame, least_psi: float) -> None:
    _head(graph, "How far each input has moved", "population stability index above what chance brings", -0.22)
    if drift.empty:
        _say(graph, "too few new animals were predicted:\nno drift measured")
        return
    moved = (drift["psi"] - drift["psi_by_chance"]).sort_values()
    colours = [PREDICTED if drift.loc[name, "drifted"] else TRUE for name in moved.index]
    graph.hlines(range(len(moved)), 0, moved, color=colours, lw=2.2)
    graph.scatter(moved, range(len(moved)), s=34, color=colours, zorder=3, clip_on=False)
    graph.axvline(0, color=MUTED, lw=0.8)
    graph.axvline(least_psi, color=INK, lw=0.9, ls=(0, (4, 3)))
    graph.text(least_psi, len(moved) - 0.4, f"  from {least_psi:g} on it matters", size=8.5, color=MUTED)
    graph.set_yticks(range(len(moved)), moved.index)
    graph.set(xlim=(min(-0.1, moved.min() * 1.3), max(1, moved.max() * 1.1)), ylim=(-0.6, len(moved) + 0.1))
    for place, name in enumerate(moved.index):
        p = _describe_p(drift.loc[name, "p_value"])
        graph.text(1.03, place, p, va="center", size=8.5, color=MUTED, transform=graph.get_yaxis_transform())
    _clean(graph, "x")


def _describe_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _draw_values(graph: Axes, training: pd.Series, recent: pd.Series) -> None:
    """Bars of equal total area, so that tables of different size can be compared."""
    unit = UNITS.get(str(training.name))
    _head(graph, f"{training.name} ({unit})" if unit else str(training.name), "", 0)
    if unit:
        bins = np.histogram_bin_edges(pd.concat([training, recent]).dropna(), bins=10)
        shares = [np.histogram(rows.dropna(), bins)[0] / len(rows) for rows in (training, recent)]
        graph.stairs(shares[0], bins, fill=True, color=TRUE, alpha=0.3, label="training")
        graph.stairs(shares[1], bins, color=PREDICTED, lw=2, label="recent")
    else:
        places = sorted({*training.astype(str), *recent.astype(str)})
        shares = [
            rows.astype(str).value_counts(normalize=True).reindex(places).fillna(0) for rows in (training, recent)
        ]
        graph.bar(places, shares[0], color=TRUE, alpha=0.3, width=0.8, label="training")
        graph.bar(places, shares[1], fill=False, edgecolor=PREDICTED, lw=2, width=0.8, label="recent")
    graph.legend(loc="lower left", bbox_to_anchor=(-0.06, 0.98), ncols=2, frameon=False, fontsize=8.5, labelcolor=INK)
    graph.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    graph.yaxis.set_major_locator(MaxNLocator(4))
    _clean(graph, "y")
    graph.tick_params(axis="y", labelsize=8, pad=2)


def _draw_errors(graph: Axes, errors: pd.DataFrame, decay: Mapping[str, float]) -> None:
    """Every animal's error as a dot, the root mean square as a bar."""
    if errors.empty:
        _head(graph, "Prediction error", "", -0.16)
        _say(graph, "too few new tails were measured:\nno error to compare")
        return
    said = f"{decay['ratio']:.2f} times the holdout error ({decay['ratio_low']:.2f} to {decay['ratio_high']:.2f})"
    _head(graph, "Prediction error (cm)", said, -0.16)
    for place, (name, colour) in enumerate(GROUPS.items()):
        sizes = errors.loc[errors["animals"] == name, "error"].abs()
        spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(sizes))
        graph.scatter(sizes, place + spread, s=13, color=colour, alpha=0.45, lw=0)
        rmse = decay[f"rmse_{name}"]
        graph.vlines(rmse, place - 0.34, place + 0.34, color=colour, lw=3)
        graph.annotate(f"RMSE {rmse:.2f}", (rmse, place + 0.34), (0, 2), textcoords="offset points", size=8, color=INK)
    graph.set_yticks(range(2), [f"{name}\n(n = {(errors['animals'] == name).sum()})" for name in GROUPS])
    graph.set(ylim=(-0.5, 1.7), xlim=(0, None))
    _clean(graph, "x")


def _head(graph: Axes, heading: str, note: str, left: float) -> None:
    up = graph.get_position().height * SIZE_INCHES[1] * 72  # points of the graph's height
    for text, offset, size, weight, colour in ((heading, 28, 11.5, "bold", INK), (note, 13, 9, "normal", MUTED)):
        place = (left, 0), (0, up + offset), "axes fraction", "offset points"
        graph.annotate(text, *place, size=size, weight=weight, color=colour)


def _say(graph: Axes, text: str) -> None:
    graph.text(0.5, 0.5, text, ha="center", va="center", size=10, color=MUTED, transform=graph.transAxes)
    graph.set_axis_off()


def _clean(graph: Axes, axis: Literal["x", "y"]) -> None:
    graph.tick_params(length=0, labelsize=9, labelcolor=MUTED, pad=5)
    graph.grid(axis=axis, color=GRID, lw=1)
    graph.spines[:].set_visible(False)
    graph.set(axisbelow=True, facecolor=PAPER)
