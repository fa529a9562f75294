"""False alarms and power of the drift tests on the project's own table, as the README states them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.data.split import select_rows
from include.monitoring.drift import measure_degradation, measure_drift
from include.problem import PROBLEM
from include.settings import INCLUDE

DRAWS = 100
THRESHOLDS = {"alpha": 0.02, "min_psi": 0.25}  # the DAG's own, which its test compares with these
RECENT = 50  # animals; the minimum that the DAG compares


@pytest.fixture(scope="module")
def possums() -> pd.DataFrame:
    rows = parse_rows((INCLUDE.parent / PROBLEM.table).read_bytes(), PROBLEM.table)
    return select_rows(inspect(rows, PROBLEM), PROBLEM.table, PROBLEM)


def drifted_in(possums: pd.DataFrame, seed: int, spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    """Draw training and recent animals from one population, spoil the recent ones, and name what has drifted."""
    rng = np.random.default_rng(seed)
    before, after = (
        possums.iloc[rng.integers(len(possums), size=count)].reset_index(drop=True) for count in (81, RECENT)
    )
    table = measure_drift(before, spoil(after), PROBLEM, **THRESHOLDS)
    return table.index[table["drifted"]].tolist()


def test_without_drift_at_most_one_draw_in_twenty_raises_an_alarm(possums: pd.DataFrame) -> None:
    errors = np.random.default_rng(0).normal(scale=1.3, size=1000)
    alarms = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        samples = pd.Series(rng.choice(errors, 23)), pd.Series(rng.choice(errors, RECENT))
        degraded = measure_degradation(*samples, confidence=0.99, margin=0.1)["degraded"]
        alarms += bool(drifted_in(possums, seed, lambda rows: rows) or degraded)

    assert alarms <= 5


def test_a_shift_of_one_number_by_one_standard_deviation_is_found_in_nineteen_draws_of_twenty(
    possums: pd.DataFrame,
) -> None:
    found = 0
    for seed in range(DRAWS):
        name = PROBLEM.numbers[seed % len(PROBLEM.numbers)]
        shift = {name: lambda rows, name=name: rows[name] + possums[name].std()}
        found += name in drifted_in(possums, seed, lambda rows, shift=shift: rows.assign(**shift))

    assert found >= 95
