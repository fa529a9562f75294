from time import process_time

import numpy as np
import pandas as pd
import pytest

from include.monitoring.groups import match_groups, permute_within


def test_weights_give_the_training_rows_the_mix_of_the_recent_ones() -> None:
    training = pd.DataFrame({"site": ["a", "a", "a", "b", None], "sex": ["f", "f", "m", "f", "f"]})
    recent = pd.DataFrame({"site": ["a", "a", None, "b", "c"], "sex": ["f", "f", "f", "m", "f"]})

    weights, known = match_groups(training, recent, ["site", "sex"])

    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 0, 1 / 3])
    assert known.tolist() == [True, True, True, False, False]


def test_without_a_common_group_nothing_has_a_weight() -> None:
    weights, known = match_groups(pd.DataFrame({"site": ["a"]}), pd.DataFrame({"site": ["b"]}), ["site"])

    assert (weights.tolist(), known.tolist()) == ([0], [False])


def draw(rng: np.random.Generator, sites: str, shift: float = 0) -> pd.DataFrame:
    """Rows whose number depends on the site alone, and on a shift."""
    site = rng.choice(list(sites), 40)
    number = rng.normal(size=40) + 5 * (site == "b") + shift
    return pd.DataFrame({"site": site, "number": number, "level": rng.choice(["x", "y"], 40)})


def test_p_values_are_uniform_without_drift_although_the_mix_differs() -> None:
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tests = permute_within(draw(rng, "aaab"), draw(rng, "abbb"), ["site"], ["number", "level"])
        p_values.append([tests[name][1] for name in ("number", "level")])

    for quantile in (0.2, 0.5, 0.8):
        # four standard errors of a share of 60
        assert np.mean(np.array(p_values) <= quantile, axis=0).tolist() == pytest.approx([quantile] * 2, abs=0.26)


def test_a_shift_within_the_groups_is_found() -> None:
    rng = np.random.default_rng(0)

    tests = permute_within(draw(rng, "aaab"), draw(rng, "abbb", shift=2), ["site"], ["number", "level"])

    assert tests["number"][1] < 0.001
    assert tests["level"][1] > 0.05
    assert tests["number"][0] > 10 * permute_within(draw(rng, "ab"), draw(rng, "ab"), ["site"], ["number"])["number"][0]


def test_many_rows_in_many_groups_take_bounded_time() -> None:
    rng = np.random.default_rng(0)
    tables = [
        pd.DataFrame({"site": np.repeat(np.arange(250), 4), "number": rng.normal(size=1000)}).astype({"site": str})
        for _ in range(2)
    ]
    start = process_time()
    tests = permute_within(*tables, ["site"], ["number"])

    assert process_time() - start < 8
    assert tests["number"][1] > 0.001
