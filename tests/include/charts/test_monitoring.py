from dataclasses import replace
from time import process_time

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from include.charts.monitoring import plot_monitoring
from include.charts.style import render
from include.monitoring.degradation import measure_degradation
from include.monitoring.drift import measure_drift
from include.monitoring.result import MonitoringResult
from include.spec import Number, Problem

from ...toy import AREA, DISTRICT, HOUSES, make_rows

NOTHING = pd.DataFrame()
ERRORS = pd.DataFrame(
    {"error": np.abs(np.random.default_rng(0).normal(size=60)), "sample": ["baseline"] * 20 + ["recent"] * 40}
)


def plot(recent: pd.DataFrame, errors: pd.DataFrame, problem: Problem = HOUSES, count: int = 120) -> Figure:
    training = make_rows(count)
    drift = measure_drift(training, recent, HOUSES, alpha=0.02, min_psi=0.25) if len(recent) else NOTHING
    samples = {name: rows["error"] for name, rows in errors.groupby("sample")} if len(errors) else {}
    degradation = measure_degradation(**samples, confidence=0.99, margin=0.1) if samples else {}
    result = MonitoringResult(problem, training, recent, drift, errors, degradation)
    return plot_monitoring(result, title="version 3", min_psi=0.25)


def texts(figure: Figure) -> str:
    graphs = ((*graph.texts, *graph.get_yticklabels(), *graph.get_xticklabels()) for graph in figure.axes)
    inside = [text for graph in graphs for text in graph]
    titles = [graph.get_title(loc="left") for graph in figure.axes]
    return "\n".join([*titles, *(text.get_text() for text in [*figure.texts, *inside])])


def test_it_names_version_inputs_and_both_errors() -> None:
    shown = texts(plot(make_rows(seed=1).assign(**{AREA: lambda rows: rows[AREA] + 90}), ERRORS))

    for text in ("Monitoring of Reg_house", "version 3", f"{AREA} (m\u00b2)", "p < 0.001", "RMSE"):
        assert text in shown
    assert "training,\ncross-validated\n(n = 20)" in shown
    assert "recent\n(n = 40)" in shown


def test_it_says_what_could_not_be_measured() -> None:
    assert "not measured:\ntoo few recent rows" in texts(plot(NOTHING, ERRORS))
    assert "not measured:\ntoo few recent rows with a true value" in texts(plot(make_rows(), NOTHING))


def test_categories_that_drifted_are_drawn_by_name_and_missing_ones_too() -> None:
    shown = texts(plot(make_rows().assign(**{DISTRICT: "moon", "index": None}), ERRORS))

    assert "moon" in shown
    assert "(missing)" in shown


def test_another_mix_is_drawn_apart_from_drift_and_numbers_within_the_groups() -> None:
    training = make_rows()
    figure = plot(training[training[DISTRICT] == "south"].assign(**{"lambda": 40}), ERRORS)
    shown = texts(figure)

    assert "brown: another mix" in figure.axes[0].get_xlabel()
    assert f"{DISTRICT} has another mix: 100% of the rows are from south" in shown
    first, second = (graph.get_title(loc="left") for graph in figure.axes[1:3])
    assert (first, second) == ("rooms", "district")
    within = training.loc[training[DISTRICT] == "south", "lambda"]
    bins = figure.axes[1].patches[0].get_data()
    assert bins.values == pytest.approx(np.histogram(within, bins.edges)[0] / len(within))


def test_of_many_categories_the_most_frequent_are_drawn() -> None:
    recent = make_rows(400).assign(**{DISTRICT: [f"district {row % 100}" for row in range(400)]})
    graph = next(graph for graph in plot(recent, ERRORS).axes if graph.get_title(loc="left") == "district")
    names = [label.get_text() for label in graph.get_xticklabels()]

    assert len(names) == 9
    assert {"north", "south", "others"} < set(names)
    assert sum(bar.get_height() for bar in graph.patches) == pytest.approx(2), "the shares of both tables"


def test_of_many_columns_those_with_the_largest_drift_are_drawn() -> None:
    columns = [f"x {place}" for place in range(42)]
    problem = replace(HOUSES, features=tuple(map(Number, columns)), gate=replace(HOUSES.gate, subgroup_max_rmse={}))
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 42)), columns=columns)
    psi = pd.Series(np.linspace(1, 0, 42), index=columns)
    drift = pd.DataFrame({"p_value": 0.5, "psi": psi, "psi_by_chance": 0.0, "drifted": False, "grouped": False})
    figure = plot_monitoring(MonitoringResult(problem, rows, rows, drift, NOTHING, {}), title="", min_psi=0.25)

    assert "Input drift (PSI above chance): top 20 of 42" in texts(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == columns[19::-1]


def test_huge_tables_are_drawn_quickly_as_samples() -> None:
    sizes = np.random.default_rng(0).normal(size=50_000)
    errors = pd.DataFrame({"error": sizes, "sample": ["baseline", "recent"] * 25_000})
    training = make_rows(50_000)
    drift = measure_drift(training, training, HOUSES, alpha=0.02, min_psi=0.25)
    names = ["rmse_baseline", "rmse_recent", "ratio", "ratio_low", "ratio_high", "ratio_found"]
    start = process_time()
    result = MonitoringResult(HOUSES, training, training, drift, errors, dict.fromkeys(names, 1.0))
    figure = plot_monitoring(result, title="", min_psi=0.25)
    render(figure)

    assert process_time() - start < 3
    assert "training,\ncross-validated\n(n = 25,000,\n1,000 shown)" in texts(figure)


@pytest.mark.parametrize("scale", [1e-4, 1e7])
def test_no_text_reaches_out_of_the_figure_with_any_names_at_any_scale(scale: float) -> None:
    features = tuple(
        replace(column, title=f"$x_{place}$ 100 % \\frac of a name that goes on and on")
        for place, column in enumerate(HOUSES.features)
    )
    problem = replace(HOUSES, features=features, registered_model="Reg_$x$_" * 40)
    recent = make_rows(seed=1).assign(**{DISTRICT: "$a$_b % of\n all people"})
    figure = plot(recent, ERRORS.assign(error=ERRORS["error"] * scale), problem)
    render(figure)

    names = [text for graph in figure.axes for text in (*graph.get_yticklabels(), graph.xaxis.label)]
    for text in [*names, *figure.texts]:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= 1600, text
        assert 0 <= box.y0 <= box.y1 <= 1200, text
