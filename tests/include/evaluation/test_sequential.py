"""What the sequential comparison promises, by simulation: short here, long with ``make test-extended``."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from include.evaluation.sequential import BETTER, FIRST, UNDECIDED, WORSE, compare, count_looks, decide

CONFIDENCE, LOOKS = 0.95, 8  # the last one at 4,096 rows
CONDITIONS = list(product((0.5, 0.85, 0.95), (False, True)))
CHUNK = 500  # comparisons at a time, for memory
SIZES = [pytest.param(CHUNK, id="short"), pytest.param(20_000, id="long", marks=pytest.mark.extended)]

Report = Callable[[str], None]


def draw_errors(rng: np.random.Generator, correlation: float, heavy: bool, ratio: float) -> list[np.ndarray]:
    """Errors of champion and challenger on the same rows; heavy: Student's t with 5 degrees of freedom."""
    shape = (CHUNK, FIRST << (LOOKS - 1))
    champion, own = rng.standard_normal((2, *shape)) * (np.sqrt(3 / rng.chisquare(5, shape)) if heavy else 1)
    return [champion, ratio * (correlation * champion + np.sqrt(1 - correlation**2) * own)]


def follow(samples: int, correlation: float, heavy: bool, ratio: float) -> dict[str, list[float]]:
    """Share of comparisons that have each verdict, after each look."""
    rng = np.random.default_rng([int(100 * correlation), heavy, int(10 * ratio)])
    verdicts = np.full((samples, LOOKS), UNDECIDED, object)
    for start in range(0, samples, CHUNK):
        champion, challenger = draw_errors(rng, correlation, heavy, ratio)
        now = np.full(CHUNK, UNDECIDED, object)
        for look in range(1, LOOKS + 1):
            rows = FIRST << (look - 1)
            new = decide(challenger[:, :rows], champion[:, :rows], CONFIDENCE, look)
            now = np.where(now == UNDECIDED, new, now)
            verdicts[start : start + CHUNK, look - 1] = now
    return {verdict: np.mean(verdicts == verdict, axis=0).round(4).tolist() for verdict in (BETTER, WORSE)}


@pytest.mark.parametrize("samples", SIZES)
def test_of_equal_models_at_most_5_percent_are_called_better_and_5_percent_worse(samples: int, report: Report) -> None:
    found = {condition: follow(samples, *condition, 1.0) for condition in CONDITIONS}

    shares = {condition: (looks[BETTER][-1], looks[WORSE][-1]) for condition, looks in found.items()}
    report(f"equal models, {LOOKS} looks, {samples} comparisons, (better, worse): {shares}")
    assert max(max(pair) for pair in shares.values()) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / samples), shares


@pytest.mark.parametrize("samples", SIZES)
def test_a_challenger_that_is_10_percent_better_is_found(samples: int, report: Report) -> None:
    found = {condition: follow(samples, *condition, 0.9) for condition in CONDITIONS}

    for condition, looks in found.items():
        report(f"10 % better, {samples} comparisons, {condition}, better after each look: {looks[BETTER]}")
    assert min(looks[BETTER][-1] for looks in found.values()) >= 0.8
    assert min(found[correlation, False][BETTER][5] for correlation in (0.5, 0.85, 0.95)) >= 0.8  # 1,024 rows
    assert min(found[0.95, heavy][BETTER][3] for heavy in (False, True)) >= 0.8  # 256 rows
    assert max(looks[WORSE][-1] for looks in found.values()) <= 0.02


@pytest.mark.parametrize(("rows", "looks"), [(0, 0), (31, 0), (32, 1), (63, 1), (64, 2), (127, 2), (4096, 8)])
def test_a_look_is_due_whenever_the_rows_have_doubled(rows: int, looks: int) -> None:
    assert count_looks(rows) == looks


@pytest.mark.parametrize(("ratio", "verdict"), [(0.5, BETTER), (1.0, UNDECIDED), (2.0, WORSE)])
def test_the_verdict_is_that_of_the_interval(ratio: float, verdict: str) -> None:
    champion, challenger = (errors[0, :100] for errors in draw_errors(np.random.default_rng(0), 0.85, False, ratio))

    found = compare(challenger, champion, CONFIDENCE)

    assert (found["verdict"], found["look"], found["rows"]) == (verdict, 2, 100)
    assert found["low"] < found["ratio"] < found["high"]
    assert (found["high"] < 1, found["low"] > 1) == (verdict == BETTER, verdict == WORSE)
