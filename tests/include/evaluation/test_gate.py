from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from include import config
from include.data.table import read_possums
from include.evaluation.gate import Rules, Verdict, judge, limit_ratio
from include.evaluation.holdout import SUBGROUPS, select_holdout

DEFAULT = Rules(**config.GATE)
COMPARISON_ALONE = replace(DEFAULT, max_rmse=99, subgroup_max_rmse={})
ANIMALS, PAIRS = 23, 200
ERROR = 1.24  # cm, the champion's true RMSE


def make_pairs(
    ratio: float, correlation: float, heavy_tailed: bool, seed: int
) -> list[tuple[pd.Series, pd.Series, pd.Series]]:
    """True lengths, the challenger's and the champion's predictions; true RMSEs are in the given ratio."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(PAIRS):
        own, common = rng.standard_normal((2, ANIMALS))
        if heavy_tailed:  # Student's t with 5 degrees of freedom, scaled to variance 1
            stretch = np.sqrt(3 / rng.chisquare(5, ANIMALS))
            own, common = own * stretch, common * stretch
        true = pd.Series(rng.normal(37, 1.95, ANIMALS))
        challenger = ratio * (correlation * common + np.sqrt(1 - correlation**2) * own)
        pairs.append((true, true - ERROR * challenger, true - ERROR * common))
    return pairs


def share_promoted(ratio: float, correlation: float, heavy_tailed: bool, seed: int = 1) -> float:
    groups = pd.DataFrame(index=range(ANIMALS))
    pairs = make_pairs(ratio, correlation, heavy_tailed, seed)
    return float(np.mean([judge(*pair, groups, COMPARISON_ALONE).passed for pair in pairs]))


CONDITIONS = list(product((0.5, 0.85, 0.95, 0.99), (False, True)))


def test_a_model_worse_by_the_margin_is_promoted_in_at_most_5_percent_of_cases() -> None:
    shares = {condition: share_promoted(1 + DEFAULT.margin, *condition) for condition in CONDITIONS}

    assert np.mean(list(shares.values())) <= 0.05, shares
    assert max(shares.values()) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / PAIRS), shares  # of 200 pairs, by chance


def test_a_model_clearly_worse_is_promoted_in_at_most_5_percent_of_cases_whatever_the_condition() -> None:
    assert {c: share for c in CONDITIONS if (share := share_promoted(1.35, *c)) > 0.05} == {}


@pytest.mark.parametrize(
    ("ratio", "correlation", "least"),
    [(1.0, 0.99, 0.95), (1.0, 0.95, 0.6), (0.9, 0.95, 0.9), (0.8, 0.85, 0.8)],
    ids=["equal and alike", "equal", "better by a tenth", "better by a fifth"],
)
def test_the_gate_opens_for_models_that_are_not_worse(ratio: float, correlation: float, least: float) -> None:
    assert share_promoted(ratio, correlation, heavy_tailed=False) >= least


@pytest.fixture
def animals() -> pd.DataFrame:
    sex = ["f", "m"] * 11 + ["f"]
    true = pd.Series(np.linspace(34, 40, ANIMALS))
    return pd.DataFrame({"true": true, "sex": sex, "site": [1] * 3 + [2] * 20})


@pytest.fixture
def judge_errors(animals: pd.DataFrame) -> Callable[..., Verdict]:
    """Judges models by what they are wrong by (cm); numbers are broadcast, signs alternate."""

    def judge_errors(challenger: object, champion: object, rules: Rules = DEFAULT) -> Verdict:
        signs = np.resize([1, 1, -1, -1], ANIMALS)
        beside = None if champion is None else animals["true"] + champion * signs  # type: ignore[operator]
        wrong = animals["true"] + challenger * signs  # type: ignore[operator]
        return judge(animals["true"], wrong, beside, animals[["sex", "site"]], rules)

    return judge_errors


def test_the_same_predictions_are_not_worse(judge_errors: Callable[..., Verdict]) -> None:
    verdict = judge_errors(1.2, 1.2)

    assert verdict.passed
    assert "1.00 x the champion's 1.20 cm on the same 23 animals" in verdict.reason


def test_the_first_model_has_the_absolute_floor_alone(judge_errors: Callable[..., Verdict]) -> None:
    assert judge_errors(1.79, None, replace(DEFAULT, subgroup_max_rmse={"sex": 1.0})).passed
    verdict = judge_errors(1.81, None)
    assert not verdict.passed
    assert verdict.reason == "absolute floor: RMSE 1.81 cm is beyond 1.80 cm"


def test_better_than_the_champion_is_not_enough_below_the_absolute_floor(judge_errors: Callable[..., Verdict]) -> None:
    assert not judge_errors(1.9, 3.0).passed


def test_a_worse_model_within_the_floor_is_refused_with_the_numbers(judge_errors: Callable[..., Verdict]) -> None:
    verdict = judge_errors(1.5, 1.0)

    assert [check.name for check in verdict.checks if check.passed is False] == ["not worse than the champion"]
    assert "RMSE is 1.50 x the champion's 1.00 cm" in verdict.reason
    assert "not below 1.20 x" in verdict.reason


def test_one_subgroup_beyond_its_floor_is_enough_to_refuse(
    judge_errors: Callable[..., Verdict], animals: pd.DataFrame
) -> None:
    wrong = np.where(animals["sex"] == "m", 1.7, 0.5)

    verdict = judge_errors(wrong, 1.3, replace(DEFAULT, subgroup_max_rmse={"sex": 1.6}))

    assert not verdict.passed
    assert verdict.reason == "sex m: RMSE 1.70 cm of 11 animals is beyond 1.60 cm"


@pytest.mark.parametrize(("error", "passed"), [(4.3, True), (4.5, False)])
def test_a_subgroup_of_few_animals_is_refused_only_if_its_error_is_no_chance(
    judge_errors: Callable[..., Verdict], animals: pd.DataFrame, error: float, passed: bool
) -> None:
    wrong = np.where(animals["site"] == 1, error, 0.5)

    verdict = judge_errors(wrong, 2 * wrong)

    # chi-squared with 3 degrees of freedom is at most 9.35 in 97.5 % of cases: 2.5 cm times the root of 9.35 / 3
    (site,) = [check for check in verdict.checks if check.name == "site 1"]
    assert (verdict.passed, site.passed) == (passed, passed)
    assert site.found.endswith("4.41 cm, the floor 2.50 cm for so few")


def test_every_site_of_the_real_holdout_is_held_to_a_floor() -> None:
    holdout = select_holdout(read_possums(config.POSSUM_CSV))
    passes = holdout[config.TARGET] + 0.5

    for site in sorted(holdout["site"].unique()):
        wrong = passes.mask(holdout["site"] == site, holdout[config.TARGET] + 6)
        verdict = judge(holdout[config.TARGET], wrong, passes, holdout[SUBGROUPS], replace(DEFAULT, max_rmse=99))

        assert f"site {site}" in [check.name for check in verdict.checks if not check.passed]


def test_more_confidence_asks_for_more_evidence() -> None:
    pair = make_pairs(1.0, 0.85, heavy_tailed=False, seed=3)[0]

    assert limit_ratio(*pair, 0.99)[1] > limit_ratio(*pair, 0.9)[1] > limit_ratio(*pair, 0.9)[0]


def test_the_same_animals_give_the_same_verdict() -> None:
    pair = make_pairs(1.0, 0.85, heavy_tailed=True, seed=4)[0]

    assert limit_ratio(*pair, 0.95) == limit_ratio(*pair, 0.95)


def test_a_champion_without_any_error_is_not_beaten_by_one_with_errors(judge_errors: Callable[..., Verdict]) -> None:
    assert not judge_errors(0.5, 0.0).passed
    assert judge_errors(0.0, 0.5).passed
