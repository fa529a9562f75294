"""Long simulations of the drift tests on the project's own table: the figures in docs/monitoring.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from include.data.split import select_training
from include.monitoring.drift import measure_drift
from include.problem import PROBLEM
from include.spec import Gate

from .test_drift import RECENT, SITES, THRESHOLDS, name_drifted, shift

pytestmark = pytest.mark.extended

DRAWS = 200
SHIFTS = {100: (60, 0.97), 50: (60, 0.93), 40: (20, 0.85)}  # by recent rows: draws per number, share to be found
BATCHES = 100  # simulated from normal distributions
NUMBERS = PROBLEM.numbers
WITHOUT_GROUPS = replace(
    PROBLEM, features=tuple(feature for feature in PROBLEM.features if feature.name in NUMBERS), gate=Gate(max_rmse=99)
)


def draw(possums: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    return possums.iloc[rng.integers(len(possums), size=count)].reset_index(drop=True)


@pytest.mark.parametrize("recent", [100, 50])
def test_without_drift_few_draws_raise_an_alarm(
    possums: pd.DataFrame, recent: int, report: Callable[[str], None]
) -> None:
    alarms = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(1000 + seed)
        alarms += bool(name_drifted(draw(possums, 81, rng), draw(possums, recent, rng)))
    report(f"no drift, {recent} recent rows: false alarms in {alarms} of {DRAWS} draws")

    assert alarms <= max(1, 0.05 * DRAWS), "2 % are nominal"


@pytest.mark.parametrize("recent", SHIFTS)
def test_a_shift_of_any_number_by_one_standard_deviation_is_found(
    possums: pd.DataFrame, recent: int, report: Callable[[str], None]
) -> None:
    draws, least = SHIFTS[recent]
    found: Counter[str] = Counter(dict.fromkeys(NUMBERS, 0))
    for name in NUMBERS:
        for seed in range(draws):
            rng = np.random.default_rng(5000 + seed)
            before, after = draw(possums, 81, rng), draw(possums, recent, rng)
            found[name] += name in name_drifted(before, shift(after, possums, name, 1))
    report(f"one standard deviation, {recent} recent rows: found in {dict(found)}, each of {draws} draws")

    assert found.total() >= least * draws * len(NUMBERS)
    assert min(found.values()) >= (least - 0.15) * draws


class Simulated:
    """Animals whose numbers are normally distributed around their site's means, correlated as in the table."""

    def __init__(self, possums: pd.DataFrame) -> None:
        whole = possums.fillna({name: possums[name].median() for name in NUMBERS})
        by_site = whole.groupby("site")
        self.means, self.population = by_site[NUMBERS].mean(), by_site["Pop"].first()
        self.females = (whole["sex"] == "f").groupby(whole["site"]).mean()
        self.covariance = (whole[NUMBERS] - self.means.loc[whole["site"]].to_numpy()).cov().to_numpy()

    def draw(self, sites: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        noise = rng.multivariate_normal(np.zeros(len(NUMBERS)), self.covariance, len(sites))
        numbers = pd.DataFrame(self.means.loc[sites].to_numpy() + noise, columns=NUMBERS).round(1)
        sex = np.where(rng.random(len(sites)) < self.females.loc[sites].to_numpy(), "f", "m")
        return numbers.assign(site=sites, Pop=self.population.loc[sites].to_numpy(), sex=sex)


def test_healthy_animals_in_another_mix_of_sites_raise_few_alarms(
    possums: pd.DataFrame, report: Callable[[str], None]
) -> None:
    """Both tables are new in each draw. Without groups the numbers of the same animals raise many alarms."""
    simulated, known = Simulated(possums), select_training(possums, PROBLEM)["site"].to_numpy()
    mix = pd.Series(known).value_counts(normalize=True).loc[SITES].to_numpy()
    grouped, ungrouped = Counter[str](), Counter[str]()
    for seed in range(BATCHES):
        rng = np.random.default_rng(seed)
        training = simulated.draw(known, rng)
        for kind in ("1 site", "2 sites", "3 sites", "all sites, uneven"):
            recent = simulated.draw(rng.choice(SITES, RECENT, p=_mix(kind, mix, rng)), rng)
            grouped[kind] += bool(name_drifted(training, recent))
            ungrouped[kind] += measure_drift(training, recent, WITHOUT_GROUPS, **THRESHOLDS)["drifted"].any()
    for kind in ungrouped:
        report(f"{kind}: false alarms in {grouped[kind]}, without groups {ungrouped[kind]}, of {BATCHES} draws")

    assert max(grouped.values()) <= max(1, 0.07 * BATCHES), "2 % are nominal"
    assert ungrouped["1 site"] >= 0.9 * BATCHES
    assert min(ungrouped["2 sites"], ungrouped["3 sites"]) >= 0.4 * BATCHES


def _mix(kind: str, usual: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the share of each site."""
    if kind == "all sites, uneven":
        return rng.dirichlet(len(SITES) * usual)
    count = int(kind[0])
    return np.isin(np.arange(len(SITES)), rng.choice(len(SITES), count, replace=False)) / count
