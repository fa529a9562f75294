"""The picture of an evaluation: predictions beside the truth, residuals, what the model looks at, subgroups."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from include.charts.style import GRID, INK, MISS, MUTED, PAPER, PREDICTED, TRUE
from include.config import TARGET

SIZE_INCHES, DPI = (12, 9), 130  # 1560 x 1170 px
LEFT, RIGHT, TOP, BOTTOM = 0.075, 0.98, 0.86, 0.07


def plot_evaluation(
    holdout: pd.DataFrame, predicted: pd.DataFrame, importance: pd.DataFrame, subgroups: pd.DataFrame, title: str
) -> Figure:
    """Draw how a model does on the holdout animals.

    :param holdout: one row an animal, with the column ``taill`` (cm)
    :param predicted: ``prediction`` and, of a model with intervals, ``lower`` and ``upper`` (cm), in the same order
    :param importance: as :func:`include.evaluation.holdout.importances` returns it
    :param subgroups: as :func:`include.evaluation.holdout.score_subgroups` returns it
    :param title: such as the model's version
    :return: a figure of 1560 x 1170 px
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER)
    axes = figure.subplots(2, 2)
    figure.subplots_adjust(LEFT, BOTTOM, RIGHT, TOP, wspace=0.24, hspace=0.36)
    figure.text(LEFT, 0.945, title, size=17, weight="bold", color=INK)
    subtitle = (
        f"{len(holdout)} holdout animals that it was not trained on; lines show 95 % intervals, unless another is named"
    )
    figure.text(LEFT, 0.915, subtitle, size=10.5, color=MUTED)
    true = holdout[TARGET].to_numpy(float)
    _draw_truth(axes[0, 0], true, predicted)
    _draw_residuals(axes[0, 1], true, predicted["prediction"].to_numpy(float))
    _draw_importance(axes[1, 0], importance)
    _draw_subgroups(axes[1, 1], subgroups, float(np.sqrt(np.mean((true - predicted["prediction"]) ** 2))))
    return figure


def _draw_truth(graph: Axes, true: np.ndarray, predicted: pd.DataFrame) -> None:
    middle = predicted["prediction"].to_numpy(float)
    span = [min(true.min(), middle.min()) - 0.7, max(true.max(), middle.max()) + 0.7]
    graph.plot(span, span, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
    y = "predicted (cm)"
    if {"lower", "upper"} <= set(predicted):
        graph.vlines(true, predicted["lower"], predicted["upper"], color=MISS, lw=1.6, zorder=1)
        y = "predicted, with prediction interval (cm)"
    graph.scatter(true, middle, s=34, color=PREDICTED, edgecolor=PAPER, lw=0.8, zorder=3)
    _label(graph, "Predicted and true tail length", "true tail length (cm); dashed: a perfect prediction", y)


def _draw_residuals(graph: Axes, true: np.ndarray, predicted: np.ndarray) -> None:
    residuals = true - predicted
    graph.axhline(0, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
    graph.vlines(predicted, 0, residuals, color=MISS, lw=1.6, zorder=1)
    graph.scatter(predicted, residuals, s=34, color=TRUE, edgecolor=PAPER, lw=0.8, zorder=3)
    reach = 1.15 * max(1.0, float(np.abs(residuals).max()))
    graph.set_ylim(-reach, reach)
    _label(graph, "What is left over", "predicted (cm)", "true minus predicted (cm)")


def _draw_importance(graph: Axes, importance: pd.DataFrame) -> None:
    shown = importance[::-1]
    graph.barh(shown["column"], shown["mean"], color=PREDICTED, height=0.62, zorder=2)
    reach = [shown["mean"] - shown["std"], shown["mean"] + shown["std"]]
    graph.hlines(shown["column"], *reach, color=INK, lw=1.1, zorder=3)
    graph.axvline(0, color=MUTED, lw=1, zorder=2.5)
    _label(graph, "What the model looks at", "growth of RMSE when a column is shuffled (cm); line: one SD", "", "x")


def _draw_subgroups(graph: Axes, subgroups: pd.DataFrame, overall: float) -> None:
    shown = subgroups[::-1].reset_index(drop=True)
    graph.axvline(overall, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
    graph.annotate(
        f"all {overall:.2f}", (overall, 1), (4, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
        color=MUTED, size=9.5,
    )  # fmt: skip
    graph.hlines(shown.index, shown["rmse_low"], shown["rmse_high"], color=MISS, lw=3, zorder=2)
    judged = shown["rmse_low"].notna()
    graph.scatter(shown["rmse"][judged], shown.index[judged], s=46, color=TRUE, zorder=3)
    graph.scatter(shown["rmse"][~judged], shown.index[~judged], s=40, color=PAPER, edgecolor=TRUE, lw=1.3, zorder=3)
    names = shown["column"] + " " + shown["group"] + "  (" + shown["animals"].astype(str) + ")"
    graph.set_yticks(shown.index, names)
    graph.set_xlim(left=0)
    _label(graph, "Error by subgroup", "RMSE (cm); hollow: too few animals for an interval", "", "x")


def _label(graph: Axes, title: str, x: str, y: str, grid: str = "both") -> None:
    graph.set_title(title, loc="left", size=12.5, weight="bold", color=INK, pad=10)
    graph.set_xlabel(x, size=10.5, color=INK, labelpad=6)
    graph.set_ylabel(y, size=10.5, color=INK, labelpad=6)
    graph.tick_params(length=0, labelsize=10, labelcolor=MUTED, pad=5)
    graph.xaxis.set_major_locator(MaxNLocator(6))
    graph.grid(axis=grid, color=GRID, lw=1)  # type: ignore[arg-type]
    graph.spines[:].set_visible(False)
    graph.set(axisbelow=True, facecolor=PAPER)
