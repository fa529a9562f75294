"""Benchmark: the pipeline at growing numbers of rows. Seconds and memory of each task, and how they grow."""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.console import Console
from rich.table import Table

from include.charts import style
from include.problem import PROBLEM
from include.spec import Problem
from local.airflow import Airflow
from local.demo import DAGS
from local.settings import PROJECT, Settings, temporary
from local.stack import Stack

RESULTS, PICTURE = PROJECT / "docs" / "scale.csv", PROJECT / "docs" / "images" / "scale.png"
TOTAL = "total"
LARGE = 100_000  # rows from which the exponent is fitted: below, starting processes takes most of the time
NOISE = 1 / 40  # standard deviation, as a share of the expected range
BATCH = 250_000  # rows
COLOURS = (style.INK, style.TRUE, style.PREDICTED, style.MISS, "#6b8e5a", "#a35c6a", "#7d6aa3")  # of total and tasks
MIN_SHARE = 0.02  # of the total time, for a task to be in the table
GIGABYTE = 1e9

console = Console(highlight=False, width=140)


def main() -> None:
    """Measure the numbers of rows on the command line; the results of others are kept."""
    logging.disable(logging.WARNING)
    sizes = [int(float(size)) for size in sys.argv[1:]] or [10_000, 100_000]
    known = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["rows"])
    results = known[~known["rows"].isin(sizes)]
    for size in sizes:
        results = pd.concat([results, _measure(size)]).sort_values("rows", kind="stable")
        results.to_csv(RESULTS, index=False)  # what was measured survives if a larger size fails
    medians = results.groupby(["rows", "task"], sort=False)[["seconds", "gigabytes"]].median().unstack("rows")
    PICTURE.write_bytes(style.render(plot(medians)))
    console.print(_tabulate(medians))
    console.print(f"Written: {RESULTS.relative_to(PROJECT)}, {PICTURE.relative_to(PROJECT)}")


def resample(table: pd.DataFrame, rows: int, problem: Problem) -> Iterator[pd.DataFrame]:
    """Yield batches of rows drawn with replacement, with noise added to the numbers, and ids from 1."""
    rng = np.random.default_rng(0)
    for first in range(0, rows, BATCH):
        count = min(BATCH, rows - first)
        batch = table.iloc[rng.integers(0, len(table), count)].reset_index(drop=True)
        for column in (problem.number(name) for name in (*problem.numbers, problem.target.name)):
            width = np.ptp(column.expected) if np.isfinite(column.expected).all() else table[column.name].std()
            noisy = batch[column.name] + rng.normal(0, NOISE * width, count)
            batch[column.name] = noisy.clip(*column.possible).round(2)
        if problem.row_id:
            batch[problem.row_id] = range(first + 1, first + 1 + count)
        yield batch


def fit_exponent(values: pd.Series) -> float:
    """Return b of a power law, values = a * rows ** b, by least squares on logarithms.

    :param values: indexed by the number of rows, of which those from ``LARGE`` on count, if there are two
    """
    known = values[values > 0]
    large = known[known.index >= LARGE] if (known.index >= LARGE).sum() > 1 else known
    rows = np.log(large.index.to_numpy(float))
    return float(np.polyfit(rows, np.log(large), 1)[0]) if len(large) > 1 else np.nan


def plot(medians: pd.DataFrame) -> Figure:
    """Draw seconds and gigabytes of the whole pipeline and of its longest tasks over the number of rows."""
    figure = Figure(figsize=(10, 5), dpi=style.DPI, facecolor=style.PAPER, layout="constrained")
    longest = medians["seconds"].drop(TOTAL).iloc[:, -1].nlargest(len(COLOURS) - 1).index
    titles = {"seconds": "Seconds from trigger to end", "gigabytes": "Peak memory (GB)"}
    for (name, title), graph in zip(titles.items(), figure.subplots(1, 2), strict=True):
        for task, colour in zip([TOTAL, *longest], COLOURS, strict=False):
            line = medians[name].loc[task]
            graph.plot(line.index, line, marker="o", ms=4, color=colour, label=task)
        style.style_axes(graph, title, "rows", "")
        graph.set_xscale("log")
    seconds, gigabytes = figure.axes
    seconds.set_yscale("log")
    gigabytes.set_ylim(bottom=0)
    for axis in (seconds.xaxis, seconds.yaxis, gigabytes.xaxis):
        axis.set_major_formatter(lambda value, _: style.format_tick(value))
        axis.set_minor_locator(NullLocator())
    figure.legend(
        *seconds.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8.5, **style.LEGEND
    )
    return figure


def _measure(rows: int) -> pd.DataFrame:
    """Run the pipeline on so many rows on a stack of its own; return ``rows``, ``task``, ``seconds``, ``gigabytes``."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name, console.status(f"{rows:,} rows") as status:
        settings = temporary(Path(name))
        _write_table(settings, rows)
        plugins = settings.home / "airflow" / "plugins"
        plugins.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("peak_plugin.py"), plugins)
        stack = Stack(settings)
        try:
            stack.start(["s3", "mlflow", "airflow"])
            seconds = _run(Airflow(settings), rows, status)
        finally:
            stack.stop()
        peaks = pd.read_json(settings.home / "airflow" / "peaks.jsonl", lines=True)
    gigabytes = peaks.groupby("task")["bytes"].max() / GIGABYTE
    largest, gigabytes[TOTAL] = gigabytes.idxmax(), gigabytes.max()
    measured = pd.DataFrame({"seconds": seconds, "gigabytes": gigabytes.reindex(seconds.index)})
    console.print(f"{rows:,} rows: {seconds[TOTAL]:.0f} s, at most {gigabytes[TOTAL]:.2f} GB in {largest}")
    return measured.rename_axis("task").reset_index().assign(rows=rows).round(3)


def _write_table(settings: Settings, rows: int) -> None:
    file = settings.project / PROBLEM.table
    for number, batch in enumerate(resample(pd.read_csv(PROJECT / PROBLEM.table), rows, PROBLEM)):
        batch.to_csv(file, index=False, header=not number, mode="a" if number else "w")


def _run(airflow: Airflow, rows: int, status: Any) -> pd.Series:
    """Return the seconds of the whole chain, and of each task from the start of its first instance to the last end."""
    airflow.wait_for_dags(DAGS)
    seconds, runs = {}, []
    for dag_id, run_id in airflow.run_chain(DAGS):
        for tasks in airflow.follow(dag_id, run_id):
            running = [task["task_id"] for task in tasks if task["state"] == "running"]
            status.update(f"{rows:,} rows: {dag_id} {', '.join(sorted(set(running)))}")
        runs.append(airflow.run(dag_id, run_id))
        if runs[-1]["state"] != "success":
            failed = [task for task in tasks if task["state"] == "failed"]
            errors = [f"{task['task_id']}: {airflow.error(dag_id, run_id, task)}" for task in failed]
            raise SystemExit("\n".join([f"{rows:,} rows: {dag_id} failed", *errors]))
        ended = pd.DataFrame([task for task in tasks if task["start_date"] and task["end_date"]])
        times = ended.assign(**{name: pd.to_datetime(ended[name]) for name in ("start_date", "end_date")})
        for task_id, found in times.groupby("task_id"):
            seconds[f"{dag_id}.{task_id}"] = (found["end_date"].max() - found["start_date"].min()).total_seconds()
    first, last = (datetime.fromisoformat(time) for time in (runs[0]["queued_at"], runs[-1]["end_date"]))
    return pd.Series({TOTAL: (last - first).total_seconds()} | seconds)


def _tabulate(medians: pd.DataFrame) -> Table:
    sizes = medians["seconds"].columns
    table = Table("task", *(f"{size:,} rows" for size in sizes), "exponent")
    for task, values in medians.iterrows():
        seconds, gigabytes = values["seconds"], values["gigabytes"].fillna(0)
        if seconds.iloc[-1] >= MIN_SHARE * medians["seconds"].loc[TOTAL].iloc[-1]:
            cells = (f"{seconds[size]:.1f} s, {gigabytes[size]:.2f} GB" for size in sizes)
            table.add_row(str(task), *cells, f"{fit_exponent(seconds):.2f}")
    return table


if __name__ == "__main__":
    main()
