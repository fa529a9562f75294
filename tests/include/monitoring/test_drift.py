from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import process_time

import numpy as np
import pandas as pd
import pytest

from include.monitoring import drift
from include.monitoring.drift import measure_degradation, measure_drift, measure_psi
from include.spec import Category, Gate, Number

from ...toy import AREA, DISTRICT, HOUSES, make_rows

DRAWS = 100
THRESHOLDS = {"alpha": 0.02, "min_psi": 0.25}  # the DAG's own, which its test compares with these
DEGRADATION = {"confidence": 0.99, "margin": 0.1}
RECENT = 50  # rows; the minimum that the DAG compares

NUMBERS = [f"number {place}" for place in range(9)]
LEVELS = {"place": [str(place) for place in range(1, 8)], "side": ["left", "right"], "sex": ["f", "m"]}
MANY = replace(
    HOUSES,
    features=(*map(Category, LEVELS), *map(Number, NUMBERS)),
    gate=Gate(max_rmse=1),
)


@pytest.fixture(scope="module")
def population() -> pd.DataFrame:
    """104 rows of nine correlated numbers and three categories, one of them with rare levels."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=104)
    numbers = {name: (size + rng.normal(size=104)).round(1) for name in NUMBERS}
    shares = [0.3, 0.1, 0.07, 0.06, 0.13, 0.13, 0.21]
    places = rng.choice(LEVELS["place"], 104, p=shares)
    return pd.DataFrame(
        {"place": places, **{name: rng.choice(LEVELS[name], 104) for name in ("side", "sex")}, **numbers}
    )


def draw(population: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    return population.iloc[rng.integers(len(population), size=count)].reset_index(drop=True)


def drifted_in(
    population: pd.DataFrame, seed: int, spoil: Callable[[pd.DataFrame], pd.DataFrame], recent: int = RECENT
) -> list[str]:
    """Draw training and recent rows from one population, spoil the recent ones, and name what has drifted."""
    rng = np.random.default_rng(seed)
    before, after = draw(population, 81, rng), draw(population, recent, rng)
    table = measure_drift(before, spoil(after), MANY, **THRESHOLDS)
    return table.index[table["drifted"]].tolist()


def test_without_drift_at_most_one_draw_in_twenty_raises_an_alarm(population: pd.DataFrame) -> None:
    errors = np.random.default_rng(0).normal(scale=1.3, size=1000)
    alarms = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        samples = pd.Series(rng.choice(errors, 23)), pd.Series(rng.choice(errors, RECENT))
        degraded = measure_degradation(*samples, **DEGRADATION)["degraded"]
        alarms += bool(drifted_in(population, seed, lambda rows: rows) or degraded)

    assert alarms <= 5


def test_a_shift_of_one_number_by_one_standard_deviation_is_found_in_nineteen_draws_of_twenty(
    population: pd.DataFrame,
) -> None:
    found = 0
    for seed in range(DRAWS):
        name = NUMBERS[seed % len(NUMBERS)]
        shift = {name: lambda rows, name=name: rows[name] + population[name].std()}
        found += name in drifted_in(population, seed, lambda rows, shift=shift: rows.assign(**shift), recent=100)

    assert found >= 95


def test_rows_of_one_category_only_have_drifted_and_so_has_a_category_that_is_new(population: pd.DataFrame) -> None:
    one = measure_drift(population, population[population["place"] == "1"], MANY, **THRESHOLDS)
    new = measure_drift(population, population.assign(place="99"), MANY, **THRESHOLDS)

    assert one.loc["place", "drifted"]
    assert new.loc["place", "drifted"]


@pytest.mark.parametrize("name", ["number 3", "place"])
def test_a_column_that_is_suddenly_missing_has_drifted(population: pd.DataFrame, name: str) -> None:
    def spoil(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(**{name: rows[name].where(rows.index % 2 == 1)})

    assert drifted_in(population, 1, spoil) == [name]


def test_a_category_that_is_missing_as_often_as_in_training_has_not_drifted(population: pd.DataFrame) -> None:
    rows = population.assign(place=population["place"].where(population.index % 2 == 1), side=None)

    assert not measure_drift(rows, rows, MANY, **THRESHOLDS)["drifted"].any()


def test_p_values_are_adjusted_for_the_number_of_columns(
    population: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    p_values = dict(zip(MANY.inputs, [0.01 * rank for rank in range(1, 13)], strict=True))
    monkeypatch.setattr(drift, "_test", lambda before, after: (0.0, p_values[before.name]))

    adjusted = measure_drift(population, population, MANY, **THRESHOLDS)["p_value"]

    # Benjamini and Hochberg: p times 12 columns by its rank, which is 0.12 for all of these
    assert adjusted.tolist() == pytest.approx([0.12] * 12)


def test_every_input_is_compared_with_any_name_and_always_the_same() -> None:
    training = make_rows()
    recent = training.assign(**{AREA: training[AREA] + 60})
    table = measure_drift(training, recent, HOUSES, **THRESHOLDS)

    assert table.index.tolist() == HOUSES.inputs
    assert table["drifted"].tolist() == [name == AREA for name in HOUSES.inputs]
    assert table.loc[DISTRICT, ["statistic", "p_value"]].tolist() == [0, 1]
    assert measure_drift(training, recent, HOUSES, **THRESHOLDS).equals(table)


def test_a_drift_that_is_certain_but_small_does_not_count() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({name: rng.normal(size=20000) for name in NUMBERS} | dict.fromkeys(LEVELS, "same"))

    table = measure_drift(rows, rows.assign(**{NUMBERS[0]: rows[NUMBERS[0]] + 0.1}), MANY, **THRESHOLDS)

    assert table.loc[NUMBERS[0], "p_value"] < 1e-6
    assert not table["drifted"].any()


def test_thousands_of_categories_are_compared_in_bounded_time_and_a_new_one_is_found() -> None:
    rng = np.random.default_rng(0)
    training, recent = make_rows(50_000), make_rows(20_000, seed=1)
    for rows in (training, recent):
        rows[DISTRICT] = rng.zipf(1.3, len(rows)).astype(str)
    start = process_time()
    same = measure_drift(training, recent, HOUSES, **THRESHOLDS)
    new = measure_drift(training, recent.assign(**{DISTRICT: "moon"}), HOUSES, **THRESHOLDS)

    assert process_time() - start < 5
    assert training[DISTRICT].nunique() > 3000
    assert same.loc[DISTRICT, "psi_by_chance"] == pytest.approx(50 * (1 / 50_000 + 1 / 20_000)), "51 bins"
    assert not same["drifted"].any()
    assert new.loc[DISTRICT, "drifted"]


@pytest.mark.parametrize(("before", "after"), [(81, 30), (81, 100), (2000, 500)])
def test_the_psi_by_chance_is_what_the_psi_is_on_average_without_drift(before: int, after: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [measure_psi(pd.Series(rng.normal(size=before)), pd.Series(rng.normal(size=after))) for _ in range(400)]

    psi, by_chance = np.mean(drawn, axis=0)

    assert psi == pytest.approx(by_chance, rel=0.15)


def test_the_psi_of_a_shift_by_one_standard_deviation_is_near_its_known_value() -> None:
    """Between normal distributions it is the squared shift, a little less once values are put into bins."""
    rng = np.random.default_rng(0)

    psi, _ = measure_psi(pd.Series(rng.normal(size=9**6)), pd.Series(rng.normal(1, size=9**6)))

    assert 0.8 < psi < 1


def test_an_error_twice_as_large_is_degradation_with_its_interval() -> None:
    errors = pd.Series(np.random.default_rng(0).normal(size=200))

    result = measure_degradation(errors, 2 * errors, **DEGRADATION)

    assert result["ratio"] == pytest.approx(2)
    assert result["rmse_recent"] == pytest.approx(2 * result["rmse_holdout"])
    assert 1.1 < result["ratio_low"] < 2 < result["ratio_high"] < 3
    assert result["degraded"] == 1


def test_an_error_within_the_margin_is_not_degradation() -> None:
    errors = pd.Series(np.random.default_rng(0).normal(size=300))

    assert measure_degradation(errors, 1.1 * errors, confidence=0.99, margin=0.25)["degraded"] == 0
    assert measure_degradation(errors, 0.5 * errors, confidence=0.99, margin=0.1)["degraded"] == 0


def test_large_samples_are_compared_in_bounded_time_with_an_interval_that_agrees() -> None:
    rng = np.random.default_rng(0)
    holdout, recent = pd.Series(rng.normal(size=12_000)), pd.Series(rng.normal(scale=1.2, size=50_000))
    start = process_time()
    result = measure_degradation(holdout, recent, **DEGRADATION)

    assert process_time() - start < 20
    # of two normal samples, the log of the ratio has the variance 1 / 2n + 1 / 2m; 2.326 is the 99 % quantile
    reach = 2.326 * np.sqrt(1 / 24_000 + 1 / 100_000)
    assert np.log(result["ratio"] / result["ratio_low"]) == pytest.approx(reach, rel=0.1)
    assert np.log(result["ratio_high"] / result["ratio"]) == pytest.approx(reach, rel=0.1)
    assert result["degraded"] == 1
