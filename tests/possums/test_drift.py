"""False alarms and power of the drift tests on the project's own table, as docs/monitoring.md states them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from include.data.split import select_training
from include.monitoring.drift import measure_drift
from include.problem import PROBLEM

THRESHOLDS = {"alpha": 0.02, "min_psi": 0.25}  # the DAG's defaults
RECENT = 50  # animals; the minimum that the DAG compares
SITES = ["1", "2", "3", "4", "5", "6", "7"]
SIZES = [pytest.param(10, id="short"), pytest.param(200, id="long", marks=pytest.mark.extended)]


def name_drifted(training: pd.DataFrame, recent: pd.DataFrame) -> list[str]:
    table = measure_drift(training, recent, PROBLEM, **THRESHOLDS)
    return table.index[table["drifted"]].tolist()


def draw_sites(possums: pd.DataFrame, sites: Sequence[str], rng: np.random.Generator) -> pd.DataFrame:
    """Draw animals of some sites, slightly other ones than those of the table."""
    here = possums[possums["site"].isin(sites)]
    rows = here.iloc[rng.integers(len(here), size=RECENT)].reset_index(drop=True)
    return rows.assign(**{name: rows[name] + rng.normal(0, 0.3, RECENT) for name in PROBLEM.numbers})


def shift(rows: pd.DataFrame, possums: pd.DataFrame, name: str, deviations: float) -> pd.DataFrame:
    return rows.assign(**{name: rows[name] + deviations * possums[name].std()})


@pytest.mark.parametrize("draws", SIZES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_healthy_animals_of_a_few_known_sites_raise_no_alarm(
    possums: pd.DataFrame, count: int, draws: int, report: Callable[[str], None]
) -> None:
    training, alarms = select_training(possums, PROBLEM), 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        recent = draw_sites(possums, rng.choice(SITES, count, replace=False).tolist(), rng)
        alarms += bool(name_drifted(training, recent))
    report(f"animals of {count} sites: false alarms in {alarms} of {draws} draws")

    assert alarms <= max(1, 0.04 * draws)


@pytest.mark.parametrize("draws", SIZES)
@pytest.mark.parametrize(("site", "least"), [("1", 0.9), ("7", 0.9), ("4", 0.1)])
def test_drift_among_the_animals_of_one_site_is_found(
    possums: pd.DataFrame, site: str, least: float, draws: int, report: Callable[[str], None]
) -> None:
    training = select_training(possums, PROBLEM)
    known = int((training["site"] == site).sum())
    for deviations in (1, 2):
        found = 0
        for seed in range(draws):
            name = PROBLEM.numbers[seed % len(PROBLEM.numbers)]
            recent = draw_sites(possums, [site], np.random.default_rng(seed))
            found += name in name_drifted(training, shift(recent, possums, name, deviations))
        report(f"site {site} ({known} in training): {deviations} standard deviations found in {found} of {draws} draws")
    assert found >= least * draws, "two standard deviations"
