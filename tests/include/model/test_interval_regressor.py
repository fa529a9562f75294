import tracemalloc
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


@pytest.mark.parametrize(("count", "rank"), [(9, 1), (18, 1), (19, 2), (29, 3), (69, 7), (81, 8)])
def test_the_rank_is_the_whole_part_of_a_tenth_of_the_rows_and_one(count: int, rank: int) -> None:
    lower, upper = bounds(np.arange(float(count))[None, :], np.zeros((count, 1)))

    assert (lower[0], upper[0]) == (rank - 1, count - rank)


def define(by_fold: np.ndarray, residuals: list[np.ndarray], miscoverage: float) -> list[np.ndarray]:
    """The bounds by their definition: all sums of a fold's prediction and a residual of the fold, sorted."""
    folds, errors = np.repeat(np.arange(len(residuals)), [len(part) for part in residuals]), np.concatenate(residuals)
    rank = int(miscoverage * (len(errors) + 1) + 1e-9)
    lower, upper = np.sort(by_fold[:, folds] - errors), np.sort(by_fold[:, folds] + errors)
    return [lower[:, rank - 1], upper[:, len(errors) - rank]]


@pytest.mark.parametrize("miscoverage", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("spread", [0, 0.01, 3, 1e9], ids=["folds agree", "nearly", "differ", "far apart"])
@pytest.mark.parametrize("digits", [0, 1, 15], ids=["many ties", "some", "none"])
def test_bounds_are_those_of_the_definition_to_the_last_digit(digits: int, spread: float, miscoverage: float) -> None:
    random = np.random.default_rng(0)
    for folds in (1, 2, 7, 10, 60):
        residuals = [
            random.exponential(size=count).round(digits) for count in random.integers(0, 40, folds) + 50 // folds
        ]
        by_fold = (random.normal(36, 2, (25, 1)) + random.normal(0, spread, (25, folds))).round(digits)

        np.testing.assert_array_equal(bounds(by_fold, residuals, miscoverage), define(by_fold, residuals, miscoverage))


def test_many_rows_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    given = random.normal(size=(50, 10)), random.exponential(size=(10, 3))
    whole = bounds(*given)

    monkeypatch.setattr(interval_regressor, "CELLS", 100)

    np.testing.assert_array_equal(bounds(*given), whole)


def test_a_hundred_thousand_rows_and_residuals_take_little_memory() -> None:
    random = np.random.default_rng(0)
    by_fold, residuals = random.normal(size=(100_000, 10)), random.exponential(size=(10, 10_000))

    tracemalloc.start()
    lower, upper = bounds(by_fold, residuals)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (lower < upper).all()
    assert peak < 20e6  # bytes; all sums would take 80e9


def test_fewer_than_nine_rows_cannot_cover_nine_in_ten() -> None:
    with pytest.raises(ValueError, match="8 rows are too few for intervals that cover 90%"):
        bounds(np.zeros((1, 8)), np.zeros((8, 1)))
