from collections.abc import Callable, Sequence
from dataclasses import replace
from time import process_time

import numpy as np
import pandas as pd
import pytest

from include.monitoring import drift
from include.monitoring.drift import measure_drift, measure_psi
from include.spec import Category, Gate, Number

from ...toy import AREA, DISTRICT, HOUSES, make_rows

DRAWS = 100
THRESHOLDS = {"alpha": 0.02, "min_psi": 0.25}  # the DAG's defaults
RECENT = 50  # rows; the minimum that the DAG compares

NUMBERS = [f"number {place}" for place in range(9)]
LEVELS = {"place": [str(place) for place in range(1, 8)], "side": ["left", "right"], "sex": ["f", "m"]}
MANY = replace(
    HOUSES,
    features=(*map(Category, LEVELS), *map(Number, NUMBERS)),
    gate=Gate(max_rmse=1),
)


def make_population() -> pd.DataFrame:
    """Return 104 rows of nine correlated numbers and three categories, one of them with rare levels."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=104)
    numbers = {name: (size + rng.normal(size=104)).round(1) for name in NUMBERS}
    shares = [0.3, 0.1, 0.07, 0.06, 0.13, 0.13, 0.21]
    places = rng.choice(LEVELS["place"], 104, p=shares)
    return pd.DataFrame(
        {"place": places, **{name: rng.choice(LEVELS[name], 104) for name in ("side", "sex")}, **numbers}
    )


POPULATION = make_population()


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


def test_without_drift_at_most_one_draw_in_twenty_raises_an_alarm() -> None:
    alarms = sum(bool(drifted_in(POPULATION, seed, lambda rows: rows)) for seed in range(DRAWS))

    assert alarms <= 5


def test_a_shift_of_one_number_by_one_standard_deviation_is_found_in_nineteen_draws_of_twenty() -> None:
    found = 0
    for seed in range(DRAWS):
        name = NUMBERS[seed % len(NUMBERS)]
        shift = {name: lambda rows, name=name: rows[name] + POPULATION[name].std()}
        found += name in drifted_in(POPULATION, seed, lambda rows, shift=shift: rows.assign(**shift), recent=100)

    assert found >= 95


def test_rows_of_one_category_are_another_mix_and_a_category_that_is_new_has_drifted() -> None:
    one = measure_drift(POPULATION, POPULATION[POPULATION["place"] == "1"], MANY, **THRESHOLDS)
    new = measure_drift(POPULATION, POPULATION.assign(place="99"), MANY, **THRESHOLDS)

    assert one.loc["place", ["grouped", "drifted"]].tolist() == [True, False]
    assert new.loc["place", ["grouped", "drifted"]].tolist() == [True, True]
    assert new.index.tolist() == ["place"], "no row is of a group that training has"


# The population, in which every number depends on the place.
REGIONS = POPULATION.assign(**{name: POPULATION[name] + 2 * POPULATION["place"].astype(int) for name in NUMBERS})


def draw_places(regions: pd.DataFrame, places: Sequence[str], rng: np.random.Generator) -> pd.DataFrame:
    rows = draw(regions[regions["place"].isin(places)], RECENT, rng)
    return rows.assign(**{name: rows[name] + rng.normal(0, 0.3, len(rows)) for name in NUMBERS})


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_of_few_places_have_not_drifted(count: int) -> None:
    alarms = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        recent = draw_places(REGIONS, rng.choice(LEVELS["place"], count, replace=False), rng)
        alarms += measure_drift(draw(REGIONS, 81, rng), recent, MANY, **THRESHOLDS)["drifted"].any()

    assert alarms <= 1


def test_a_number_that_moves_within_one_place_has_drifted_and_only_this_number() -> None:
    recent = draw_places(REGIONS, ["1"], np.random.default_rng(0))

    table = measure_drift(REGIONS, recent.assign(**{NUMBERS[0]: recent[NUMBERS[0]] + 3}), MANY, **THRESHOLDS)

    assert table.index[table["drifted"]].tolist() == [NUMBERS[0]]
    assert table.index[table["grouped"]].tolist() == ["place"]


def test_another_mix_within_the_groups_is_not_drift_either() -> None:
    training = REGIONS.assign(sex=np.where(REGIONS["place"] == "1", "f", REGIONS["sex"]))
    recent = training[training["place"] == "1"].assign(sex="m")

    table = measure_drift(training, recent, MANY, **THRESHOLDS)

    assert table.index[table["grouped"]].tolist() == ["place", "sex"]
    assert not table["drifted"].any()


def test_a_shift_within_a_group_that_is_rare_in_a_large_table_is_found() -> None:
    training, recent = make_rows(50_000), make_rows(100, seed=1)
    training.loc[training.index % 1000 == 0, DISTRICT] = "village"
    rows = recent.assign(**{DISTRICT: "village", AREA: recent[AREA] + 60})

    table = measure_drift(training, rows, HOUSES, **THRESHOLDS)

    assert table.index[table["grouped"]].tolist() == [DISTRICT]
    assert table.index[table["drifted"]].tolist() == [AREA]


def test_rows_of_a_place_that_training_lacks_do_not_make_numbers_drift() -> None:
    recent = draw_places(REGIONS, LEVELS["place"], np.random.default_rng(0))
    recent.loc[:11, "place"] = "99"
    recent.loc[:11, NUMBERS] += 100

    table = measure_drift(REGIONS, recent, MANY, **THRESHOLDS)

    assert table.index[table["drifted"]].tolist() == ["place"]


@pytest.mark.parametrize("name", ["number 3", "place"])
def test_a_column_that_is_suddenly_missing_has_drifted(name: str) -> None:
    def spoil(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(**{name: rows[name].where(rows.index % 2 == 1)})

    assert drifted_in(POPULATION, 1, spoil) == [name]


def test_a_category_that_is_missing_as_often_as_in_training_has_not_drifted() -> None:
    rows = POPULATION.assign(place=POPULATION["place"].where(POPULATION.index % 2 == 1), side=None)

    assert not measure_drift(rows, rows, MANY, **THRESHOLDS)["drifted"].any()


def test_p_values_are_adjusted_for_the_number_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values = dict(zip(MANY.inputs, [0.01 * rank for rank in range(1, 13)], strict=True))
    monkeypatch.setattr(drift, "_test", lambda before, after: (0.0, p_values[before.name]))

    adjusted = measure_drift(POPULATION, POPULATION, MANY, **THRESHOLDS)["p_value"]

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


@pytest.mark.parametrize("count", [50, 5000])
def test_rows_of_one_of_many_places_are_another_mix(count: int) -> None:
    rng = np.random.default_rng(0)
    training, recent = make_rows(20_000), make_rows(count, seed=1)
    training[DISTRICT] = rng.integers(500, size=len(training)).astype(str)
    training[AREA] += training[DISTRICT].astype(int)
    recent[AREA] += 7

    table = measure_drift(training, recent.assign(**{DISTRICT: "7"}), HOUSES, **THRESHOLDS)
    spread = measure_drift(training.head(15_000), training.tail(count), HOUSES, **THRESHOLDS)

    assert table.index[table["grouped"]].tolist() == [DISTRICT]
    assert not table["drifted"].any()
    assert not spread[["grouped", "drifted"]].any(axis=None)


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
