from io import BytesIO

import numpy as np
import pandas as pd
from PIL import Image

from include.charts.predictions import plot_predictions
from include.charts.style import render
from include.problem import PROBLEM
from include.settings import INCLUDE

ILLUSTRATION = INCLUDE / PROBLEM.illustration


def test_the_chart_shows_tails_in_centimetres_beside_the_possum() -> None:
    predictions = pd.DataFrame({"case": ["1", "2"], "true": [36.0, 37.5], "predicted": [35.0, 38.0]})
    predictions = predictions.assign(lower=33.0, upper=39.0, split="train")
    figure = plot_predictions(predictions, PROBLEM, ILLUSTRATION)
    margin = np.asarray(Image.open(BytesIO(render(figure))).convert("RGB"))[:, 1200:]

    assert "How long is a possum\u2019s tail?" in [text.get_text() for text in figure.texts]
    assert "tail length (cm)" in [graph.get_ylabel() for graph in figure.axes]
    assert len(np.unique(margin.reshape(-1, 3), axis=0)) > 500
