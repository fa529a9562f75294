from itertools import islice

import numpy as np
import pandas as pd
import pytest

from include.charts.style import render
from include.problem import PROBLEM
from local.bench_scale import fit_exponent, plot, resample
from local.settings import PROJECT

TABLE = pd.read_csv(PROJECT / PROBLEM.table)


def test_batches_are_rows_of_the_table_with_other_numbers_and_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.bench_scale.BATCH", 300)

    batches = list(resample(TABLE, 700, PROBLEM))

    rows = pd.concat(batches)
    assert [len(batch) for batch in batches] == [300, 300, 100]
    assert list(rows) == list(TABLE)
    if PROBLEM.row_id:
        assert rows[PROBLEM.row_id].tolist() == list(range(1, 701))
    for name in PROBLEM.categories:
        assert set(rows[name].dropna()) <= set(TABLE[name].dropna())
    target = rows[PROBLEM.target.name].dropna()
    assert target.between(*PROBLEM.target.possible).all()
    assert target.mean() == pytest.approx(TABLE[PROBLEM.target.name].mean(), rel=0.05)
    assert target.nunique() > TABLE[PROBLEM.target.name].nunique()


def test_resampling_is_deterministic() -> None:
    first, again = (next(islice(resample(TABLE, 50, PROBLEM), 1)) for _ in range(2))

    pd.testing.assert_frame_equal(first, again)


def test_the_exponent_is_that_of_the_large_numbers_of_rows() -> None:
    seconds = pd.Series({10_000: 50.0, 100_000: 60.0, 1_000_000: 600.0, 10_000_000: 6000.0})

    assert fit_exponent(seconds) == pytest.approx(1)
    assert fit_exponent(seconds.head(2)) == pytest.approx(np.log10(1.2))
    assert np.isnan(fit_exponent(seconds.head(1)))


def test_results_become_a_picture() -> None:
    index = pd.Index(["total", "train.train_model"], name="task")
    columns = pd.MultiIndex.from_product([["seconds", "gigabytes"], [10_000, 100_000]], names=[None, "rows"])
    medians = pd.DataFrame([[50.0, 90.0, np.nan, np.nan], [5.0, 30.0, 0.4, 0.9]], index, columns)

    assert render(plot(medians)).startswith(b"\x89PNG")
