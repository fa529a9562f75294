from __future__ import annotations

from io import BytesIO

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from include.charts.monitoring import plot_monitoring
from include.charts.style import render
from include.data.table import select_training
from include.monitoring.drift import measure_decay, measure_drift


@pytest.fixture
def drift(possums: pd.DataFrame) -> pd.DataFrame:
    return measure_drift(possums, possums.assign(hdlngth=possums["hdlngth"] + 4), alpha=0.02, least_psi=0.25)


@pytest.fixture
def errors() -> pd.DataFrame:
    sizes = np.random.default_rng(0).normal(size=60)
    return pd.DataFrame({"error": sizes, "animals": ["holdout"] * 20 + ["recent"] * 40})


def texts(figure: Figure) -> str:
    graphs = [text for graph in figure.axes for text in (*graph.texts, *graph.get_yticklabels())]
    return "\n".join(text.get_text() for text in [*figure.texts, *graphs])


def draw(possums: pd.DataFrame, drift: pd.DataFrame, errors: pd.DataFrame) -> Figure:
    sides = (errors.loc[errors["animals"] == name, "error"] for name in ("holdout", "recent")) if len(errors) else ()
    decay = measure_decay(*sides, confidence=0.99, margin=0.1) if len(errors) else {}
    training = select_training(possums)
    return plot_monitoring(training, possums, drift, errors, decay, title="version 3", least_psi=0.25)


def test_it_names_version_inputs_and_both_errors(
    possums: pd.DataFrame, drift: pd.DataFrame, errors: pd.DataFrame
) -> None:
    said = texts(draw(possums, drift, errors))

    for text in ("version 3", "hdlngth (mm)", "p < 0.001", "holdout\n(n = 20)", "recent\n(n = 40)", "RMSE"):
        assert text in said


def test_it_is_a_picture_of_1600_by_1000_pixels(
    possums: pd.DataFrame, drift: pd.DataFrame, errors: pd.DataFrame
) -> None:
    picture = matplotlib.image.imread(BytesIO(render(draw(possums, drift, errors))), format="png")

    assert picture.shape[:2] == (1000, 1600)
    assert picture[..., :3].std() > 0.05


def test_it_says_what_could_not_be_measured(possums: pd.DataFrame, drift: pd.DataFrame, errors: pd.DataFrame) -> None:
    nothing = pd.DataFrame()

    assert "no drift measured" in texts(draw(possums, nothing, errors))
    assert "no error to compare" in texts(draw(possums, drift, nothing))


def test_categories_that_moved_are_drawn_by_their_names(possums: pd.DataFrame, errors: pd.DataFrame) -> None:
    moved = measure_drift(possums, possums.assign(site=99), alpha=0.02, least_psi=0.25)
    figure = draw(possums.assign(site=99), moved, errors)

    assert "99" in [label.get_text() for graph in figure.axes for label in graph.get_xticklabels()]
