from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from include.model import interval_regressor
from include.model.candidates import NAMES
from include.model.interval_regressor import IntervalRegressor, bounds
from include.model.training import train_model
from tests.toy import HOUSES


def load(file: Path) -> IntervalRegressor:
    model = IntervalRegressor()
    model.load_context(SimpleNamespace(artifacts={"parts": str(file)}))
    return model


@pytest.mark.parametrize("estimator", NAMES)
def test_a_loaded_model_predicts_what_the_saved_one_does(table: pd.DataFrame, tmp_path: Path, estimator: str) -> None:
    model, _ = train_model(table, HOUSES, estimator, {})
    rows = table[HOUSES.inputs].tail(5)

    model.save(tmp_path / "parts.skops")

    pd.testing.assert_frame_equal(load(tmp_path / "parts.skops").predict(None, rows), model.predict(None, rows))


def test_types_outside_of_the_list_are_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "parts.skops"
    skops.io.dump({"model": Fraction(1, 3)}, file)

    with pytest.raises(UntrustedTypesFoundException, match=r"fractions\.Fraction"):
        load(file)


def test_bounds_are_the_order_statistics_of_the_paper() -> None:
    """With 19 rows and 10 %: the 2nd smallest of prediction - error, the 18th smallest of prediction + error."""
    by_fold, folds = np.arange(19.0)[None, :], np.arange(19)

    assert bounds(by_fold, folds, np.zeros(19)).tolist() == [[1.0], [17.0]]
    assert bounds(by_fold, folds, np.full(19, 0.5)).tolist() == [[0.5], [17.5]]


@pytest.mark.parametrize(("count", "rank"), [(9, 1), (18, 1), (19, 2), (29, 3), (69, 7), (81, 8)])
def test_the_rank_is_the_whole_part_of_a_tenth_of_the_rows_and_one(count: int, rank: int) -> None:
    lower, upper = bounds(np.arange(float(count))[None, :], np.arange(count), np.zeros(count))

    assert (lower[0], upper[0]) == (rank - 1, count - rank)


def test_many_rows_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    given = random.normal(size=(50, 10)), random.integers(0, 10, 30), random.exponential(size=30)
    whole = bounds(*given)

    monkeypatch.setattr(interval_regressor, "CELLS", 100)

    np.testing.assert_array_equal(bounds(*given), whole)


def test_fewer_than_nine_rows_cannot_cover_nine_in_ten() -> None:
    with pytest.raises(ValueError, match="8 rows are too few for intervals that cover 90%"):
        bounds(np.zeros((1, 8)), np.arange(8), np.zeros(8))
