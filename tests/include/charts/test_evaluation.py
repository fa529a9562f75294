from __future__ import annotations

from io import BytesIO

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from include.charts.evaluation import plot_evaluation
from include.charts.style import render
from include.evaluation import holdout as evaluation


@pytest.fixture
def figure(possums: pd.DataFrame) -> Figure:
    holdout = evaluation.select_holdout(possums)
    rows = evaluation.add_shuffled(holdout)
    answer = pd.DataFrame({"prediction": 37 + 0.4 * (rows["totlngth"] - 87)})
    answer = answer.assign(lower=answer["prediction"] - 2, upper=answer["prediction"] + 2)
    own = evaluation.read_predictions(answer, holdout)
    subgroups = evaluation.score_subgroups(holdout, own["prediction"])
    return plot_evaluation(holdout, own, evaluation.importances(holdout, answer), subgroups, "A title")


def test_the_picture_has_its_size_and_something_on_it(figure: Figure) -> None:
    picture = matplotlib.image.imread(BytesIO(render(figure)))

    assert picture.shape[:2] == (1170, 1560)
    assert picture[..., :3].std() > 0.05


def test_four_graphs_say_what_they_show_with_units(figure: Figure) -> None:
    assert [graph.get_title(loc="left") for graph in figure.axes] == [
        "Predicted and true tail length",
        "What is left over",
        "What the model looks at",
        "Error by subgroup",
    ]
    assert all("cm" in graph.get_xlabel() for graph in figure.axes)


def test_every_animal_is_where_its_lengths_are(figure: Figure, possums: pd.DataFrame) -> None:
    holdout = evaluation.select_holdout(possums)
    predicted = 37 + 0.4 * (holdout["totlngth"] - 87)

    truth, residuals = (graph.collections[-1].get_offsets() for graph in figure.axes[:2])

    np.testing.assert_allclose(truth, np.column_stack([holdout["taill"], predicted]))
    np.testing.assert_allclose(residuals, np.column_stack([predicted, holdout["taill"] - predicted]))


def test_prediction_intervals_are_drawn(figure: Figure) -> None:
    lines = figure.axes[0].collections[0].get_segments()

    assert len(lines) == 23
    assert {round(float(line[1][1] - line[0][1]), 6) for line in lines} == {4.0}


def test_the_most_important_column_is_on_top(figure: Figure) -> None:
    labels = [label.get_text() for label in figure.axes[2].get_yticklabels()]

    assert labels[-1] == "totlngth"
    assert len(labels) == 12


def test_no_text_reaches_out_of_the_picture(figure: Figure) -> None:
    render(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for text in (text for graph in figure.axes for text in [*graph.get_yticklabels(), graph.xaxis.label, graph.title]):
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.x1 <= width, text
        assert 0 <= box.y0 <= box.y1 <= height, text
