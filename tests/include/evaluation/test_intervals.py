from itertools import product
from time import perf_counter

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from include.evaluation.intervals import limit_mae, limit_r2, limit_ratio, limit_rmse, share_of_subsets
from include.evaluation.scores import rmse


def enumerate_subsets(differences: np.ndarray) -> float:
    subsets = np.array(list(product((0, 1), repeat=len(differences))))
    return float(np.mean(subsets @ differences >= 0))


COMMON, OWN = np.random.default_rng(1).standard_normal((2, 23))
ERRORS = np.stack([0.9 * COMMON + np.sqrt(0.19) * OWN, COMMON])  # of two models, correlated 0.9


@pytest.mark.parametrize("rows", [10, 12, 14])
def test_the_share_of_subsets_is_close_to_a_full_count(rows: int) -> None:
    rng = np.random.default_rng(rows)
    differences = [rng.standard_normal(rows) ** 2 - 1.5 * rng.standard_normal(rows) ** 2 for _ in range(60)]

    counted = np.array([enumerate_subsets(one) for one in differences])
    shares = share_of_subsets(np.array(differences))

    small = counted < 0.2
    assert small.sum() >= 10
    assert np.median(np.abs(np.log(shares[small] / counted[small]))) < 0.1
    assert np.abs(shares - counted)[small].max() < 0.05


def test_where_no_subset_or_every_one_counts_the_share_is_exact() -> None:
    signs = np.array([[-1.0] * 5, [1.0] * 5, [-1, -2, 0, 0, 0], [0.0] * 5])

    assert share_of_subsets(signs).tolist() == [2**-5, 1, 2**-2, 1]


def test_a_sample_is_treated_like_many() -> None:
    many = np.random.default_rng(2).standard_normal((4, 3, 9))

    np.testing.assert_allclose(share_of_subsets(many)[1, 2], share_of_subsets(many[1, 2]), rtol=1e-6)


def test_limits_lie_around_the_ratio_and_more_confidence_asks_for_more_evidence() -> None:
    ratio = rmse(ERRORS[0], 0) / rmse(ERRORS[1], 0)

    limits = [limit_ratio(*ERRORS, alpha) for alpha in (0.99, 0.9, 0.1, 0.01, 1e-5)]

    assert limits == sorted(limits)
    assert limits[1] < ratio < limits[2]
    assert limit_ratio(*ERRORS, 0.1) == pytest.approx(1 / limit_ratio(*ERRORS[::-1], 0.9), rel=1e-4)
    assert limit_ratio(3 * ERRORS[0], ERRORS[1], 0.1) == pytest.approx(3 * limits[2], rel=1e-4)


def test_a_limit_is_the_ratio_that_only_few_subsets_exceed() -> None:
    rng = np.random.default_rng(3)
    subsets = rng.integers(0, 2, (20_000, 23)) @ np.square(ERRORS).T

    assert np.sqrt(np.quantile(subsets[:, 0] / subsets[:, 1], 0.975)) == pytest.approx(
        limit_ratio(*ERRORS, 0.025), rel=0.01
    )


def test_models_without_any_error_have_limits_too() -> None:
    none = np.zeros(23)

    assert limit_ratio(none, ERRORS[1], 0.025) == 0
    assert limit_ratio(ERRORS[0], none, 0.025) == limit_ratio(none, none, 0.025) == np.inf
    some = np.where(np.arange(23) < 9, 0, ERRORS)
    assert 0 < limit_ratio(*some, 0.025) < np.inf


def test_too_few_rows_have_no_limit_at_a_late_look() -> None:
    errors = np.random.default_rng(4).standard_normal((2, 7))

    assert limit_ratio(0.1 * errors[0], errors[1], 2**-6) < 1
    assert limit_ratio(0.1 * errors[0], errors[1], 2**-8) == np.inf


def test_many_rows_take_little_time() -> None:
    errors = np.random.default_rng(5).standard_normal((2, 100_000))
    start = perf_counter()

    limit = limit_ratio(*errors, 0.025)

    assert perf_counter() - start < 5
    assert limit == pytest.approx(rmse(errors[0], 0) / rmse(errors[1], 0) * np.exp(1.96 / np.sqrt(100_000)), rel=1e-3)


def test_the_interval_of_the_rmse_is_bonetts() -> None:
    squares, rows = ERRORS[0] ** 2, 23
    kurtosis = rows * (squares**2).sum() / squares.sum() ** 2
    bias = rows / (rows - norm.ppf(0.975))
    deviation = bias * np.sqrt((kurtosis - (rows - 3) / rows) / (rows - 1)) * student.ppf(0.975, rows - 1)

    expected = np.sqrt(bias * squares.mean() * np.exp([-deviation, deviation]))

    np.testing.assert_allclose(limit_rmse(ERRORS[0], 0.95), expected)


def test_intervals_scale_with_the_unit_and_contain_the_score() -> None:
    for limit, value in ((limit_rmse, rmse(ERRORS[0], 0)), (limit_mae, np.abs(ERRORS[0]).mean())):
        low, high = limit(ERRORS[0], 0.95)
        assert low < value < high
        assert limit(1000 * ERRORS[0], 0.95) == pytest.approx((1000 * low, 1000 * high))
        assert limit(ERRORS[0], 0.8) > (low, 0)


def test_the_interval_of_r2_contains_it_and_ends_at_1() -> None:
    true = 2 * ERRORS[1]
    low, high = limit_r2(true, ERRORS[0], 0.95)

    assert low < 1 - (ERRORS[0] ** 2).sum() / ((true - true.mean()) ** 2).sum() < high <= 1


def test_without_errors_there_is_no_interval() -> None:
    none = np.zeros(23)

    assert np.isnan([limit_rmse(none, 0.95), limit_mae(none, 0.95)]).all()
    assert limit_r2(np.arange(23.0), none, 0.95) == (1, 1)
