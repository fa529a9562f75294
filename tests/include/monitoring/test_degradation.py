from collections.abc import Callable
from time import process_time

import numpy as np
import pandas as pd
import pytest

from include.monitoring.degradation import measure_degradation

DEGRADATION = {"confidence": 0.95, "margin": 0.1}  # the DAG's defaults
TRAINING, HOLDOUT, RECENT = 81, 23, 50  # rows
SIZES = [pytest.param(100, id="short"), pytest.param(1000, id="long", marks=pytest.mark.extended)]
GROWTH = {1.0: (0, 0.03), 1.5: (0.6, 1), 2.0: (0.95, 1)}  # of the error, and how often it may and must be found


def share_found(baselines: np.ndarray, recent: np.ndarray) -> float:
    """Return in which share of the draws a growth of the error is found.

    :param baselines: draws x rows
    :param recent: the same
    """
    pairs = zip(map(pd.Series, baselines), map(pd.Series, recent), strict=True)
    return float(np.mean([measure_degradation(*pair, **DEGRADATION)["degraded"] for pair in pairs]))


@pytest.mark.parametrize("draws", SIZES)
def test_a_growth_of_the_error_is_found_and_nothing_where_there_is_none(
    draws: int, report: Callable[[str], None]
) -> None:
    rng = np.random.default_rng(0)
    for growth, (least, most) in GROWTH.items():
        found = share_found(rng.normal(size=(draws, TRAINING)), growth * rng.normal(size=(draws, RECENT)))
        report(f"an error {growth} times as large: found in {found:.3f} of {draws} draws")
        assert least <= found <= most


@pytest.mark.extended
def test_heavy_tails_cost_power_and_the_false_alarms_stay_below_the_nominal_rate(report: Callable[[str], None]) -> None:
    rng, draws = np.random.default_rng(0), 1000
    for growth in GROWTH:
        found = share_found(rng.standard_t(5, (draws, TRAINING)), growth * rng.standard_t(5, (draws, RECENT)))
        report(f"an error {growth} times as large, tails of t with 5 degrees: found in {found:.3f} of {draws} draws")
        assert growth > 1 or found <= 1 - DEGRADATION["confidence"]


@pytest.mark.parametrize("draws", SIZES)
@pytest.mark.parametrize("challengers", [1, 20, 50])
def test_the_best_of_many_challengers_raises_no_alarm_by_its_luck_on_the_holdout(
    draws: int, challengers: int, report: Callable[[str], None]
) -> None:
    """All are equal, and the champion is the best on the holdout. Its errors on training rows know nothing of that."""
    rng = np.random.default_rng(challengers)
    holdout = rng.normal(size=(draws, challengers, HOLDOUT))
    best = np.square(holdout).mean(axis=2).argmin(axis=1)
    training, recent = rng.normal(size=(draws, challengers, TRAINING)), rng.normal(size=(draws, RECENT))
    lucky, unbiased = (share_found(rows[np.arange(draws), best], recent) for rows in (holdout, training))
    report(f"best of {challengers}: false alarms {unbiased:.3f}, against the holdout {lucky:.3f}, of {draws} draws")
    assert unbiased <= 0.03
    assert lucky > 0.1 or challengers == 1, "the holdout would raise alarms"


def test_the_stated_ratio_is_found_in_four_draws_of_five() -> None:
    rng = np.random.default_rng(0)
    stated = [
        measure_degradation(pd.Series(baseline), pd.Series(recent), **DEGRADATION)["ratio_found"]
        for baseline, recent in zip(rng.normal(size=(30, TRAINING)), rng.normal(size=(30, RECENT)), strict=True)
    ]

    found = share_found(rng.normal(size=(100, TRAINING)), np.median(stated) * rng.normal(size=(100, RECENT)))

    assert 0.7 <= found <= 0.9


def test_an_error_twice_as_large_is_degradation_with_its_interval() -> None:
    errors = pd.Series(np.random.default_rng(0).normal(size=200))

    result = measure_degradation(errors, 2 * errors, **DEGRADATION)

    assert result["ratio"] == pytest.approx(2)
    assert result["rmse_recent"] == pytest.approx(2 * result["rmse_baseline"])
    assert 1.1 < result["ratio_low"] < 2 < result["ratio_high"] < 3
    assert result["degraded"] == 1


@pytest.mark.parametrize(("baseline", "recent", "degraded"), [(0, 1, 1), (1, 0, 0)])
def test_a_model_without_any_error_can_be_compared(baseline: float, recent: float, degraded: int) -> None:
    errors = pd.Series(np.random.default_rng(0).normal(size=60))

    assert measure_degradation(baseline * errors, recent * errors, **DEGRADATION)["degraded"] == degraded


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
    # of two normal samples, the log of the ratio has the variance 1 / 2n + 1 / 2m; 1.645 is the 95 % quantile
    reach = 1.645 * np.sqrt(1 / 24_000 + 1 / 100_000)
    assert np.log(result["ratio"] / result["ratio_low"]) == pytest.approx(reach, rel=0.1)
    assert np.log(result["ratio_high"] / result["ratio"]) == pytest.approx(reach, rel=0.1)
    assert result["degraded"] == 1
