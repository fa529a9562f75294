from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from include.evaluation.gate import Verdict, judge, limit_ratio
from include.spec import Gate

GATE = Gate(max_rmse=1.8, subgroup_max_rmse={"sex": 2.2, "site": 2.5})
COMPARISON_ALONE = Gate(max_rmse=99)
ROWS, PAIRS = 23, 200
ERROR = 1.24  # the champion's true RMSE


def make_pairs(
    ratio: float, correlation: float, heavy_tailed: bool, seed: int
) -> list[tuple[pd.Series, pd.Series, pd.Series]]:
    """True values, the challenger's and the champion's predictions; true RMSEs are in the given ratio."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(PAIRS):
        own, common = rng.standard_normal((2, ROWS))
        if heavy_tailed:  # Student's t with 5 degrees of freedom, scaled to variance 1
            stretch = np.sqrt(3 / rng.chisquare(5, ROWS))
            own, common = own * stretch, common * stretch
        true = pd.Series(rng.normal(37, 1.95, ROWS))
        challenger = ratio * (correlation * common + np.sqrt(1 - correlation**2) * own)
        pairs.append((true, true - ERROR * challenger, true - ERROR * common))
    return pairs


def share_promoted(ratio: float, correlation: float, heavy_tailed: bool, seed: int = 1) -> float:
    groups = pd.DataFrame(index=range(ROWS))
    pairs = make_pairs(ratio, correlation, heavy_tailed, seed)
    return float(np.mean([judge(*pair, groups, COMPARISON_ALONE, "cm").passed for pair in pairs]))


CONDITIONS = list(product((0.5, 0.85, 0.95, 0.99), (False, True)))


def test_a_model_worse_by_the_margin_is_promoted_in_at_most_5_percent_of_cases() -> None:
    shares = {condition: share_promoted(1 + GATE.margin, *condition) for condition in CONDITIONS}

    assert np.mean(list(shares.values())) <= 0.05, shares
    assert max(shares.values()) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / PAIRS), shares  # of 200 pairs, by chance


def test_a_clearly_worse_model_is_promoted_in_at_most_5_percent_of_cases_under_every_condition() -> None:
    assert {c: share for c in CONDITIONS if (share := share_promoted(1.35, *c)) > 0.05} == {}


@pytest.mark.parametrize(
    ("ratio", "correlation", "at_least"),
    [(1.0, 0.99, 0.95), (1.0, 0.95, 0.6), (0.9, 0.95, 0.9), (0.8, 0.85, 0.8)],
    ids=["equal and alike", "equal", "better by a tenth", "better by a fifth"],
)
def test_models_that_are_not_worse_are_promoted(ratio: float, correlation: float, at_least: float) -> None:
    assert share_promoted(ratio, correlation, heavy_tailed=False) >= at_least


@pytest.fixture
def rows() -> pd.DataFrame:
    sex = ["f", "m"] * 11 + ["f"]
    true = pd.Series(np.linspace(34, 40, ROWS))
    return pd.DataFrame({"true": true, "sex": sex, "site": ["1"] * 3 + ["2"] * 20})


@pytest.fixture
def judge_errors(rows: pd.DataFrame) -> Callable[..., Verdict]:
    """Judges models by their absolute errors; numbers are broadcast, signs alternate."""

    def judge_errors(challenger: object, champion: object, gate: Gate = GATE, unit: str = "cm") -> Verdict:
        signs = np.resize([1, 1, -1, -1], ROWS)
        other = None if champion is None else rows["true"] + champion * signs  # type: ignore[operator]
        predicted = rows["true"] + challenger * signs  # type: ignore[operator]
        return judge(rows["true"], predicted, other, rows[["sex", "site"]], gate, unit)

    return judge_errors


def test_the_same_predictions_are_not_worse(judge_errors: Callable[..., Verdict]) -> None:
    verdict = judge_errors(1.2, 1.2)

    assert verdict.passed
    assert "1.00 x the champion's 1.20 cm on the same 23 rows and, at 97.5% confidence, at most" in verdict.reason


def test_the_first_model_has_only_the_absolute_floor(judge_errors: Callable[..., Verdict]) -> None:
    assert judge_errors(1.79, None, replace(GATE, subgroup_max_rmse={"sex": 1.0})).passed
    verdict = judge_errors(1.81, None)
    assert not verdict.passed
    assert verdict.reason == "absolute limit: RMSE 1.81 cm on 23 rows is above the limit of 1.80 cm"


def test_without_a_unit_no_blank_is_left(judge_errors: Callable[..., Verdict]) -> None:
    verdict = judge_errors(1.2, 1.2, unit="")

    assert verdict.checks[0].result == "RMSE 1.20 on 23 rows is within the limit of 1.80"
    assert not any("  " in check.result or check.result.endswith(" ") for check in verdict.checks)


def test_better_than_the_champion_is_not_enough_beyond_the_absolute_floor(judge_errors: Callable[..., Verdict]) -> None:
    assert not judge_errors(1.9, 3.0).passed


def test_a_worse_model_within_the_floor_is_rejected_with_the_numbers(judge_errors: Callable[..., Verdict]) -> None:
    verdict = judge_errors(1.5, 1.0)

    assert [check.name for check in verdict.checks if check.passed is False] == ["not worse than the champion"]
    assert "RMSE is 1.50 x the champion's 1.00 cm" in verdict.reason
    assert "not below 1.20 x" in verdict.reason


def test_one_subgroup_beyond_its_limit_is_enough_to_reject(
    judge_errors: Callable[..., Verdict], rows: pd.DataFrame
) -> None:
    errors = np.where(rows["sex"] == "m", 1.7, 0.5)

    verdict = judge_errors(errors, 1.3, replace(GATE, subgroup_max_rmse={"sex": 1.6}))

    assert not verdict.passed
    assert verdict.reason == "sex m: RMSE 1.70 cm on 11 rows is above the limit of 1.60 cm"


@pytest.mark.parametrize(("error", "passed"), [(4.3, True), (4.5, False)])
def test_a_subgroup_of_few_rows_is_rejected_only_if_its_error_is_not_chance(
    judge_errors: Callable[..., Verdict], rows: pd.DataFrame, error: float, passed: bool
) -> None:
    errors = np.where(rows["site"] == "1", error, 0.5)

    verdict = judge_errors(errors, 2 * errors)

    # chi-squared with 3 degrees of freedom is at most 9.35 in 97.5 % of cases: 2.5 cm times the root of 9.35 / 3
    (site,) = [check for check in verdict.checks if check.name == "site 1"]
    assert (verdict.passed, site.passed) == (passed, passed)
    assert site.result.endswith("the limit of 4.41 cm (2.50 cm, widened for few rows)")


def test_more_confidence_asks_for_more_evidence() -> None:
    pair = make_pairs(1.0, 0.85, heavy_tailed=False, seed=3)[0]

    assert limit_ratio(*pair, 0.99)[1] > limit_ratio(*pair, 0.9)[1] > limit_ratio(*pair, 0.9)[0]


def test_the_same_rows_give_the_same_verdict() -> None:
    pair = make_pairs(1.0, 0.85, heavy_tailed=True, seed=4)[0]

    assert limit_ratio(*pair, 0.95) == limit_ratio(*pair, 0.95)


def test_a_champion_without_any_error_is_not_replaced_by_a_model_with_errors(
    judge_errors: Callable[..., Verdict],
) -> None:
    assert not judge_errors(0.5, 0.0).passed
    assert judge_errors(0.0, 0.5).passed
