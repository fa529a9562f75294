"""The chart of an evaluation: predicted and true values, residuals, permutation importance, errors by subgroup."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from include.charts import style
from include.charts.style import DASHED, INK, MISS, MUTED, PAPER, PREDICTED, TRUE
from include.evaluation.scores import format_value
from include.spec import Problem

SIZE_INCHES, DPI = (12, 9), 130  # 1560 x 1170 px
DOTS, COLUMNS, GROUPS = 1000, 20, 15  # shown at most


def plot_evaluation(
    holdout: pd.DataFrame,
    predicted: pd.DataFrame,
    importance: pd.DataFrame,
    subgroups: pd.DataFrame,
    title: str,
    problem: Problem,
) -> Figure:
    """Draw how well a model predicts the holdout.

    Of a large table, the chart shows a sample of the rows, the most important columns and the subgroups with the
    largest errors, and says so.

    :param holdout: the rows, with the target
    :param predicted: ``prediction`` and, of a model with intervals, ``lower`` and ``upper``, in the same order
    :param importance: as :func:`include.evaluation.holdout.importances` returns it
    :param subgroups: as :func:`include.evaluation.holdout.score_subgroups` returns it
    :param title: such as the model's version
    :return: a figure of 1560 x 1170 px
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.get_layout_engine().set(rect=(0.02, 0.02, 0.96, 0.86), wspace=0.06)  # type: ignore[union-attr,call-arg]
    above, below = (part.subplots(1, 2) for part in figure.subfigures(2, 1, hspace=0.08))  # type: ignore[union-attr]
    rows = predicted.reset_index(drop=True).assign(true=holdout[problem.target.name].to_numpy(float))
    shown = style.thin(rows, DOTS)
    note = f", {DOTS:,} of them shown" if len(shown) < len(rows) else ""
    subtitle = f"{len(rows):,} holdout rows{note}  \u00b7  lines are 95 % intervals unless another is named"
    style.write_heading(figure, 0.025, 0.975, title, subtitle)
    _draw_truth(above[0], shown, problem)
    _draw_residuals(above[1], shown, problem)
    _draw_importance(below[0], importance, problem)
    _draw_subgroups(below[1], subgroups, float(np.sqrt(np.square(rows["true"] - rows["prediction"]).mean())), problem)
    return figure


def _draw_truth(graph: Axes, rows: pd.DataFrame, problem: Problem) -> None:
    values = rows[["true", "prediction"]]
    span = np.array([values.min(axis=None), values.max(axis=None)])
    graph.plot(*[span + np.ptp(span) * np.array([-0.05, 0.05])] * 2, color=MUTED, lw=1, ls=DASHED, zorder=1)
    y = "predicted"
    if {"lower", "upper"} <= set(rows):
        graph.vlines(rows["true"], rows["lower"], rows["upper"], color=MISS, lw=_bar(rows), zorder=1)
        y = "predicted, with 90 % prediction interval"
    graph.scatter(rows["true"], rows["prediction"], color=PREDICTED, **_dots(rows))
    x = style.cut(f"true {problem.target.label}", 44) + "; dashed: perfect"
    style.style_axes(graph, "Predicted and true values", x, y)
    style.show_numbers(graph.xaxis, graph.yaxis)


def _draw_residuals(graph: Axes, rows: pd.DataFrame, problem: Problem) -> None:
    residuals = rows["true"] - rows["prediction"]
    graph.axhline(0, color=MUTED, lw=1, ls=DASHED, zorder=1)
    graph.vlines(rows["prediction"], 0, residuals, color=MISS, lw=_bar(rows), zorder=1)
    graph.scatter(rows["prediction"], residuals, color=TRUE, **_dots(rows))
    reach = 1.15 * residuals.abs().max() or 1
    graph.set_ylim(-reach, reach)
    x, y = style.cut(f"predicted {problem.target.label}", 56), style.with_unit("true minus predicted", problem.unit)
    style.style_axes(graph, "Residuals", x, y)
    style.show_numbers(graph.xaxis, graph.yaxis)


def _bar(rows: pd.DataFrame) -> float:
    return float(np.clip(200 / len(rows), 0.5, 1.6))


def _dots(rows: pd.DataFrame) -> dict[str, Any]:
    return {"s": float(np.clip(4000 / len(rows), 9, 34)), "edgecolor": PAPER, "lw": 0.6, "zorder": 3}


def _draw_importance(graph: Axes, importance: pd.DataFrame, problem: Problem) -> None:
    shown = importance.head(COLUMNS)[::-1].reset_index(drop=True)
    graph.barh(shown.index, shown["mean"], color=PREDICTED, height=0.62, zorder=2)
    graph.hlines(shown.index, shown["mean"] - shown["std"], shown["mean"] + shown["std"], color=INK, lw=1.1, zorder=3)
    graph.axvline(0, color=MUTED, lw=1, zorder=2.5)
    title = style.name_part("Permutation importance", "top", len(shown), len(importance))
    x = style.with_unit("increase of the RMSE when a column is shuffled", problem.unit) + "; line: one SD"
    style.style_axes(graph, title, x, "", grid="x")
    style.list_names(graph, [style.cut(problem.column(name).label, 28) for name in shown["column"]])
    style.show_numbers(graph.xaxis)


def _draw_subgroups(graph: Axes, subgroups: pd.DataFrame, overall: float, problem: Problem) -> None:
    if subgroups.empty:
        style.write_instead(graph, "RMSE by subgroup", "no subgroups: gate.subgroup_max_rmse is empty")
        return
    shown = _choose_groups(subgroups)[::-1].reset_index(drop=True)
    graph.axvline(overall, color=MUTED, lw=1, ls=DASHED, zorder=1)
    graph.hlines(shown.index, shown["rmse_low"], shown["rmse_high"], color=MISS, lw=3, zorder=2)
    colours = np.where(shown["rmse_low"].notna(), TRUE, PAPER)
    graph.scatter(shown["rmse"], shown.index, s=44, color=colours, edgecolor=TRUE, lw=1.3, zorder=3)
    title = style.name_part("RMSE by subgroup", "worst", len(shown), len(subgroups))
    unit = style.with_unit("RMSE", problem.unit)
    x = f"{unit}; dashed: all rows ({format_value(overall)}); hollow: no interval"
    style.style_axes(graph, title, x, "", grid="x")
    names = zip(shown["column"], shown["group"], shown["rows"], strict=True)
    style.list_names(
        graph, [f"{style.cut(name, 14)} {style.cut(group, 14)}  ({rows:,})" for name, group, rows in names]
    )
    style.show_numbers(graph.xaxis)
    graph.set_xlim(left=0)


def _choose_groups(subgroups: pd.DataFrame) -> pd.DataFrame:
    """Return the groups with the largest errors, those without an interval last, in the order of the table."""
    ranked = subgroups.assign(_sure=subgroups["rmse_low"].notna()).sort_values(["_sure", "rmse"], ascending=False)
    return subgroups.loc[ranked.index[:GROUPS].sort_values()]
