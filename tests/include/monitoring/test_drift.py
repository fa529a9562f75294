from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.config import NUMERIC, RAW
from include.data.table import select_training
from include.monitoring import drift
from include.monitoring.drift import measure_decay, measure_drift, measure_psi

DRAWS = 100
THRESHOLDS = {"alpha": 0.02, "least_psi": 0.25}  # the DAG's own, which its test compares with these
DECAY = {"confidence": 0.99, "margin": 0.1}
RECENT = 50  # animals; the least that the DAG compares


def draw(possums: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    return possums.iloc[rng.integers(len(possums), size=count)].reset_index(drop=True)


def drifted_in(possums: pd.DataFrame, seed: int, spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    """Draw training and recent animals from one population, spoil the recent ones, and name what has drifted."""
    rng = np.random.default_rng(seed)
    before, after = draw(possums, 81, rng), draw(possums, RECENT, rng)
    table = measure_drift(before, spoil(after), **THRESHOLDS)
    return table.index[table["drifted"]].tolist()


def test_without_drift_at_most_one_draw_in_twenty_raises_an_alarm(possums: pd.DataFrame) -> None:
    errors = np.random.default_rng(0).normal(scale=1.3, size=1000)
    alarms = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        decay = measure_decay(pd.Series(rng.choice(errors, 23)), pd.Series(rng.choice(errors, RECENT)), **DECAY)
        alarms += bool(drifted_in(possums, seed, lambda rows: rows) or decay["decayed"])

    assert alarms <= 5


def test_a_shift_of_one_number_by_one_standard_deviation_is_found_in_nineteen_draws_of_twenty(
    possums: pd.DataFrame,
) -> None:
    shifts = possums[NUMERIC].std()
    names = [NUMERIC[seed % len(NUMERIC)] for seed in range(DRAWS)]

    found = [
        name in drifted_in(possums, seed, lambda rows, name=name: rows.assign(**{name: rows[name] + shifts[name]}))
        for seed, name in enumerate(names)
    ]

    assert sum(found) >= 95


def test_animals_from_one_site_only_have_drifted_and_so_has_a_site_nobody_knows(possums: pd.DataFrame) -> None:
    training = select_training(possums)

    one = measure_drift(training, training[training["site"] == 1], **THRESHOLDS)
    unknown = measure_drift(training, training.assign(site=99), **THRESHOLDS)

    assert one.loc["site", "drifted"]
    assert unknown.loc["site", "drifted"]


def test_a_number_that_is_suddenly_missing_has_drifted(possums: pd.DataFrame) -> None:
    assert drifted_in(possums, 1, lambda rows: rows.assign(eye=np.where(rows.index % 2, rows["eye"], np.nan))) == [
        "eye"
    ]


def test_p_values_are_adjusted_for_the_number_of_columns(
    possums: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    p_values = dict(zip(RAW, [0.01 * rank for rank in range(1, 13)], strict=True))
    monkeypatch.setattr(drift, "_test", lambda before, after: (0.0, p_values[before.name]))

    adjusted = measure_drift(possums, possums, **THRESHOLDS)["p_value"]

    # Benjamini and Hochberg: p times 12 columns by its rank, which is 0.12 for all of these
    assert adjusted.tolist() == pytest.approx([0.12] * 12)


def test_every_raw_column_is_compared(possums: pd.DataFrame) -> None:
    table = measure_drift(possums, possums.assign(age=possums["age"] + 2), **THRESHOLDS)

    assert table.index.tolist() == RAW
    assert table.loc["skullw", ["statistic", "p_value"]].tolist() == [0, 1]
    assert measure_drift(possums, possums.assign(age=possums["age"] + 2), **THRESHOLDS).equals(table)


def test_a_drift_that_is_certain_but_small_does_not_count() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({name: rng.normal(size=20000) for name in NUMERIC} | {"site": 1, "Pop": "Vic", "sex": "f"})

    table = measure_drift(rows, rows.assign(eye=rows["eye"] + 0.1), **THRESHOLDS)

    assert table.loc["eye", "p_value"] < 1e-6
    assert not table["drifted"].any()


@pytest.mark.parametrize(("before", "after"), [(81, 30), (81, 100), (2000, 500)])
def test_the_psi_by_chance_is_what_the_psi_is_on_average_without_drift(before: int, after: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [
        measure_psi(pd.Series(rng.normal(size=before), name="eye"), pd.Series(rng.normal(size=after), name="eye"))
        for _ in range(400)
    ]

    psi, by_chance = np.mean(drawn, axis=0)

    assert psi == pytest.approx(by_chance, rel=0.15)


def test_the_psi_of_a_shift_by_one_standard_deviation_is_near_its_known_value() -> None:
    """Between normal distributions it is the squared shift, a little less once values are put into bins."""
    rng = np.random.default_rng(0)

    psi, _ = measure_psi(pd.Series(rng.normal(size=9**6), name="eye"), pd.Series(rng.normal(1, size=9**6), name="eye"))

    assert 0.8 < psi < 1


def test_an_error_twice_as_large_is_a_decay_with_its_interval() -> None:
    errors = pd.Series(np.random.default_rng(0).normal(size=200))

    decay = measure_decay(errors, 2 * errors, **DECAY)

    assert decay["ratio"] == pytest.approx(2)
    assert decay["rmse_recent"] == pytest.approx(2 * decay["rmse_holdout"])
    assert 1.1 < decay["ratio_low"] < 2 < decay["ratio_high"] < 3
    assert decay["decayed"] == 1


def test_an_error_within_the_margin_is_no_decay() -> None:
    errors = pd.Series(np.random.default_rng(0).normal(size=300))

    assert measure_decay(errors, 1.1 * errors, confidence=0.99, margin=0.25)["decayed"] == 0
    assert measure_decay(errors, 0.5 * errors, confidence=0.99, margin=0.1)["decayed"] == 0
