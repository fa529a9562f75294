from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from include.evaluation.scores import mae, r2, rmse, score_predictions


def test_scores_are_root_mean_square_mean_absolute_and_explained() -> None:
    scores = score_predictions(pd.Series([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]))

    assert scores == pytest.approx({"rmse": 3**0.5, "mae": 1.0, "r2": 1 - 9 / 2})


def test_they_are_what_scikit_learn_computes_of_each_sample() -> None:
    true, predicted = np.random.default_rng(0).normal(size=(2, 4, 9))

    assert rmse(true, predicted) == pytest.approx(
        [root_mean_squared_error(*pair) for pair in zip(true, predicted, strict=True)]
    )
    assert mae(true, predicted) == pytest.approx(
        [mean_absolute_error(*pair) for pair in zip(true, predicted, strict=True)]
    )
    assert r2(true, predicted) == pytest.approx([r2_score(*pair) for pair in zip(true, predicted, strict=True)])


def test_rows_are_paired_by_position_whatever_their_index() -> None:
    assert rmse(pd.Series([1.0, 2.0]), pd.Series([2.0, 1.0], index=[1, 0])) == 1
