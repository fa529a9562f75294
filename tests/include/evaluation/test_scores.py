from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from include.evaluation.scores import format_value, mae, r2, rmse, score_predictions


def test_scores_are_rmse_mae_and_r2() -> None:
    scores = score_predictions(pd.Series([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]))

    assert scores == pytest.approx({"rmse": 3**0.5, "mae": 1.0, "r2": 1 - 9 / 2})


@pytest.mark.parametrize(
    ("ours", "theirs"), [(rmse, root_mean_squared_error), (mae, mean_absolute_error), (r2, r2_score)]
)
def test_each_sample_has_the_score_that_scikit_learn_computes(ours: Any, theirs: Any) -> None:
    true, predicted = np.random.default_rng(0).normal(size=(2, 4, 9))

    assert ours(true, predicted) == pytest.approx([theirs(*pair) for pair in zip(true, predicted, strict=True)])


def test_rows_are_paired_by_position_not_by_index() -> None:
    assert rmse(pd.Series([1.0, 2.0]), pd.Series([2.0, 1.0], index=[1, 0])) == 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.2417, "cm", "1.24 cm"),
        (54321.5, "€", "54,322 €"),
        (0.000124, "", "0.000124"),
        (0.0, "g", "0 g"),
        (-12, "", "-12.00"),
    ],
)
def test_values_of_any_scale_are_readable(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text
