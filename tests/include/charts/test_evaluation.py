from dataclasses import replace
from time import process_time

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from include.charts.evaluation import plot_evaluation
from include.charts.style import render
from include.evaluation import holdout as evaluation
from include.spec import Problem

from ...toy import AREA, DISTRICT, HOUSES, make_rows

HOLDOUT = make_rows(33)


def plot(holdout: pd.DataFrame, problem: Problem = HOUSES) -> Figure:
    rows = evaluation.add_shuffled(holdout, HOUSES)
    answer = pd.DataFrame({"prediction": 150 + 2 * rows[AREA] + 5 * rows["lambda"]})
    answer = answer.assign(lower=answer["prediction"] - 40, upper=answer["prediction"] + 40)
    own = evaluation.read_predictions(answer, holdout, HOUSES)
    subgroups = evaluation.score_subgroups(holdout, own["prediction"], HOUSES)
    return plot_evaluation(holdout, own, evaluation.importances(holdout, answer, HOUSES), subgroups, "A title", problem)


def labels_of(figure: Figure, graph: int) -> list[str]:
    return [label.get_text() for label in figure.axes[graph].get_yticklabels()]


def make_importance(problem: Problem, count: int) -> pd.DataFrame:
    return pd.DataFrame({"column": (problem.inputs * count)[:count], "mean": range(count, 0, -1), "std": 1.0})


def make_subgroups(count: int) -> pd.DataFrame:
    errors = pd.Series(np.arange(count, dtype=float))
    table = pd.DataFrame({"column": DISTRICT, "group": [f"d {row}" for row in range(count)], "rows": 9, "rmse": errors})
    return table.assign(rmse_low=errors.where(errors < count - 2), rmse_high=errors + 1, mae=errors)


def test_a_problem_without_subgroups_has_a_chart_that_says_so() -> None:
    own = pd.DataFrame({"prediction": HOLDOUT["price"] + 1.0})
    figure = plot_evaluation(HOLDOUT, own, make_importance(HOUSES, 4), pd.DataFrame([]), "A title", HOUSES)

    render(figure)
    assert [text.get_text() for text in figure.axes[3].texts] == ["no subgroups: gate.subgroup_max_rmse is empty"]


def test_four_graphs_have_titles_and_the_unit_of_the_target() -> None:
    figure = plot(HOLDOUT)
    assert [graph.get_title(loc="left") for graph in figure.axes] == [
        "Predicted and true values",
        "Residuals",
        "Permutation importance",
        "RMSE by subgroup",
    ]
    assert all("(k\u20ac)" in graph.get_xlabel() for graph in figure.axes)


def test_every_row_is_where_its_values_are() -> None:
    predicted = 150 + 2 * HOLDOUT[AREA] + 5 * HOLDOUT["lambda"]

    truth, residuals = (graph.collections[-1].get_offsets() for graph in plot(HOLDOUT).axes[:2])

    np.testing.assert_allclose(truth, np.column_stack([HOLDOUT["price"], predicted]))
    np.testing.assert_allclose(residuals, np.column_stack([predicted, HOLDOUT["price"] - predicted]))


def test_prediction_intervals_are_drawn() -> None:
    lines = plot(HOLDOUT).axes[0].collections[0].get_segments()

    assert len(lines) == len(HOLDOUT)
    assert {round(float(line[1][1] - line[0][1]), 6) for line in lines} == {80.0}


def test_the_most_important_column_is_on_top_with_its_label() -> None:
    labels = labels_of(plot(HOLDOUT), 2)

    assert labels[-1] == f"{AREA} (m\u00b2)"
    assert set(labels) == {f"{AREA} (m\u00b2)", "district", "energy class", "rooms"}


def test_of_many_columns_and_subgroups_the_worst_are_shown_and_counted() -> None:
    predicted = pd.DataFrame({"prediction": HOLDOUT["price"]})
    tables = make_importance(HOUSES, 35), make_subgroups(48)
    figure = plot_evaluation(HOLDOUT, predicted, *tables, "A title", HOUSES)

    titles = [graph.get_title(loc="left") for graph in figure.axes[2:]]
    assert titles == ["Permutation importance: top 20 of 35", "RMSE by subgroup: worst 15 of 48"]
    assert len(labels_of(figure, 2)) == 20
    # two groups without an interval come last, though their errors are the largest
    assert labels_of(figure, 3)[::-1] == [f"{DISTRICT} d {row}  (9)" for row in range(31, 46)]


def test_a_huge_holdout_is_drawn_quickly_as_a_sample() -> None:
    huge = make_rows(50_000)
    predicted = pd.DataFrame({"prediction": 150 + 2 * huge[AREA]})
    start = process_time()
    figure = plot_evaluation(huge, predicted, make_importance(HOUSES, 4), make_subgroups(4), "A title", HOUSES)
    render(figure)

    assert process_time() - start < 3
    assert "50,000 holdout rows, 1,000 of them shown" in "\n".join(text.get_text() for text in figure.texts)
    assert len(figure.axes[0].collections[-1].get_offsets()) == 1000


@pytest.mark.parametrize("scale", [1e-4, 1, 1e7])
def test_no_text_reaches_out_of_the_figure_with_any_names_at_any_scale(scale: float) -> None:
    features = tuple(
        replace(column, title=f"$x_{place}$ 100 % \\frac of a name that goes on and on {place}")
        for place, column in enumerate(HOUSES.features)
    )
    target = replace(HOUSES.target, title="$money$ that a_house costs, with everything that belongs to it")
    scaled = HOLDOUT.assign(price=HOLDOUT["price"] * scale)
    predicted = pd.DataFrame({"prediction": scaled["price"] * 1.1})
    groups = make_subgroups(30).assign(group="$a$ group_of % people with\na long name", rmse=scale)
    tables = make_importance(HOUSES, 30), groups
    problem = replace(HOUSES, features=features, target=target)
    figure = plot_evaluation(scaled, predicted, *tables, "$title$ " * 40, problem)
    render(figure)

    width, height = figure.bbox.width, figure.bbox.height
    labels = [
        text for graph in figure.axes for text in (*graph.get_yticklabels(), graph.xaxis.label, graph.yaxis.label)
    ]
    for text in [*labels, *figure.texts]:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width, text
        assert 0 <= box.y0 <= box.y1 <= height, text
