"""The chart of monitoring: drift of every input, the prediction errors, and what to know beside them."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from include.charts import style
from include.charts.style import DASHED, DPI, INK, MISS, MUTED, PAPER, PREDICTED, TRUE
from include.evaluation.scores import format_value
from include.monitoring.groups import match_groups
from include.monitoring.result import MonitoringResult
from include.spec import Number, Problem

SIZE_INCHES = (10, 7.5)  # 1600 x 1200 px
SAMPLES = {"baseline": TRUE, "recent": PREDICTED}
COLUMNS, LEVELS, DOTS = 20, 8, 1000  # shown at most
NOTES, LINE = 4, 140  # lines of notes, and characters of a line
SIZE = 9  # of tick labels, points


def plot_monitoring(result: MonitoringResult, *, title: str, min_psi: float) -> Figure:
    """Draw the drift of the inputs, the values of the two that moved most, the errors, and the notes.

    Inputs that were compared within groups are shown with the training rows in the mix of the recent ones. What could
    not be measured is an empty table, and its part of the chart says so.

    :param title: such as the version and the number of rows
    :param min_psi: smallest PSI above chance that matters
    :return: a figure of 1600 x 1200 px
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER, layout="constrained")
    notes = textwrap.wrap("Notes: " + "; ".join(result.notes()), LINE, max_lines=NOTES) if result.notes() else []
    bottom = 0.015 + 0.022 * len(notes)
    place = (0.015, bottom, 0.97, 0.87 - bottom)
    figure.get_layout_engine().set(rect=place, hspace=0.06)  # type: ignore[union-attr,call-arg]
    layout = [["drift", "first"], ["drift", "second"], ["drift", "errors"]]
    graphs = figure.subplot_mosaic(layout, height_ratios=[1, 1, 1.4])  # type: ignore[arg-type]
    style.write_heading(figure, 0.02, 0.98, f"Monitoring of {result.problem.registered_model}", title)
    for line, note in enumerate(reversed(notes)):
        figure.text(0.02, 0.012 + 0.022 * line, note, size=8.5, color=MUTED)
    moved = _sort(result.drift)
    _draw_drift(graphs["drift"], moved, min_psi, len(result.drift), result.problem)
    for graph, name in zip((graphs["first"], graphs["second"]), [*moved.index[:-3:-1], None, None], strict=False):
        if name is None:
            graph.set_axis_off()
        else:
            _draw_values(graph, str(name), result)
    legend = graphs["first"].get_legend_handles_labels()
    corner = (0.99, 1 - 0.68 / SIZE_INCHES[1])
    figure.legend(*legend, loc="center right", bbox_to_anchor=corner, ncols=2, fontsize=9.5, **style.LEGEND)
    _draw_errors(graphs["errors"], result.errors, result.degradation, result.problem)
    return figure


def _sort(drift: pd.DataFrame) -> pd.DataFrame:
    """Return the inputs that moved most, with ``moved``: those that drifted last, then those of another mix."""
    if drift.empty:
        return drift
    moved = drift.assign(moved=drift["psi"] - drift["psi_by_chance"])
    return moved.sort_values(["drifted", "grouped", "moved"]).tail(COLUMNS)


def _draw_drift(graph: Axes, shown: pd.DataFrame, min_psi: float, total: int, problem: Problem) -> None:
    """Draw the PSI of each input; one that is far beyond the others ends at the edge, with its value beside it."""
    title = style.name_part("Input drift (PSI above chance)", "top", len(shown), total)
    if shown.empty:
        style.write_instead(graph, title, "not measured:\ntoo few recent rows", SIZE)
        return
    alone = shown.loc[~shown["grouped"], "moved"] if not shown["grouped"].all() else shown["moved"]
    low, high = min(-0.1, shown["moved"].min() * 1.3), max(2 * min_psi, alone.max() * 1.1)
    places, ends = range(len(shown)), shown["moved"].clip(upper=high)
    colours = np.select([shown["drifted"], shown["grouped"]], [PREDICTED, MISS], TRUE)
    graph.hlines(places, 0, ends, color=colours, lw=2.2)
    graph.scatter(ends, places, s=34, color=colours, zorder=3, clip_on=False)
    graph.axvline(0, color=MUTED, lw=0.8)
    graph.axvline(min_psi, color=INK, lw=0.9, ls=DASHED)
    graph.set_xlim(low, high)
    for place, (_, row) in zip(places, shown.iterrows(), strict=True):
        text = f"PSI {row['psi']:.1f}" if row["moved"] > high else _describe_p(row["p_value"])
        beside = graph.get_yaxis_transform()
        graph.text(1.03, place, text, va="center", size=8.5, color=MUTED, transform=beside)
    x = f"dashed: {min_psi:g}; orange: drifted" + ("; brown: another mix" if MISS in colours else "; p adjusted")
    style.style_axes(graph, title, x, "", grid="x", size=SIZE)
    style.list_names(graph, [style.cut(problem.column(str(name)).label, 26) for name in shown.index])
    style.show_numbers(graph.xaxis)


def _describe_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _draw_values(graph: Axes, name: str, result: MonitoringResult) -> None:
    """Draw the shares of the values, so that tables of different size can be compared."""
    training, recent, weights = result.training[name], result.recent[name], np.ones(len(result.training))
    if result.groups and name not in result.groups:
        weights, known = match_groups(result.training, result.recent, result.groups)
        recent = recent[known]
    column = result.problem.column(name)
    draw = _draw_numbers if isinstance(column, Number) else _draw_categories
    draw(graph, training, recent, weights / weights.sum())
    style.style_axes(graph, style.cut(column.label, 32), "", "", grid="y", size=SIZE)
    graph.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    graph.yaxis.set_major_locator(MaxNLocator(4))


def _draw_numbers(graph: Axes, training: pd.Series, recent: pd.Series, weights: np.ndarray) -> None:
    bins = np.histogram_bin_edges(pd.concat([training, recent]).dropna(), bins=10)
    known = training.notna().to_numpy()
    before = np.histogram(training[known], bins, weights=weights[known])[0]
    after = np.histogram(recent.dropna(), bins)[0] / len(recent)
    graph.stairs(before, bins, fill=True, color=TRUE, alpha=0.3, label="training")
    graph.stairs(after, bins, color=PREDICTED, lw=2, label="recent")
    style.show_numbers(graph.xaxis)


def _draw_categories(graph: Axes, training: pd.Series, recent: pd.Series, weights: np.ndarray) -> None:
    """Draw the most frequent levels of either side, and all others as one."""
    before, after = (rows.astype(object).fillna("(missing)") for rows in (training, recent))
    shares = pd.DataFrame(
        {"before": pd.Series(weights, before.index).groupby(before).sum(), "after": after.value_counts(normalize=True)}
    ).fillna(0.0)
    shown = shares.loc[shares.max(axis=1).nlargest(LEVELS).index].sort_index()
    names = [style.cut(level, 56 // len(shown)) for level in shown.index]
    if len(shares) > len(shown):
        shown.loc["_others"] = 1 - shown.sum()
        names.append("others")
    places = range(len(shown))
    graph.bar(places, shown["before"], color=TRUE, alpha=0.3, width=0.8, label="training")
    graph.bar(places, shown["after"], fill=False, edgecolor=PREDICTED, lw=2, width=0.8, label="recent")
    graph.set_xticks(places, names)


def _draw_errors(graph: Axes, errors: pd.DataFrame, degradation: Mapping[str, float], problem: Problem) -> None:
    """Draw every row's error as a dot, of large samples some, and the root mean square as a line."""
    if errors.empty:
        style.write_instead(graph, "Prediction error", "not measured:\ntoo few recent rows with a true value", SIZE)
        return
    names = []
    for place, (sample, colour) in enumerate(SAMPLES.items()):
        rows, rmse = errors[errors["sample"] == sample], degradation[f"rmse_{sample}"]
        sizes = style.thin(rows, DOTS)["error"]
        spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(sizes))
        graph.scatter(sizes, place + spread, s=13, color=colour, alpha=0.45, lw=0)
        graph.vlines(rmse, place - 0.34, place + 0.34, color=colour, lw=3)
        text, top = f"RMSE {format_value(rmse)}", (rmse, place + 0.34)
        graph.annotate(text, top, (0, 2), textcoords="offset points", size=8, color=INK)
        name = "training,\ncross-validated" if sample == "baseline" else sample
        names.append(f"{name}\n(n = {len(rows):,}" + (f",\n{DOTS:,} shown)" if len(sizes) < len(rows) else ")"))
    ratio = "RMSE ratio {ratio:.2f} ({ratio_low:.2f} to {ratio_high:.2f})".format(**degradation)
    x = f"{style.with_unit('absolute error', problem.unit)}; {ratio}"
    style.style_axes(graph, "Prediction error", x, "", grid="x", size=SIZE)
    graph.set_yticks(range(len(names)), names)
    graph.set(ylim=(-0.5, 1.7), xlim=(0, None))
    style.show_numbers(graph.xaxis)
