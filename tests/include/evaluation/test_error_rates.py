"""What the gate promises, by simulation: short here, long with ``make test-extended``, which prints the figures."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from include.evaluation.intervals import limit_mae, limit_r2, limit_rmse, share_of_subsets
from include.evaluation.looks import spend
from include.evaluation.scores import rmse
from include.spec import Gate

GATE = Gate(max_rmse=99)
ROWS, LOOKS = 23, 52
MOST_ROWS = 2000  # in which a challenger as good as the champion is found to be no worse
LEVELS = np.array([spend(GATE.confidence, look) for look in range(1, LOOKS + 1)])
CONDITIONS = list(product((0.5, 0.85, 0.95, 0.99), (False, True)))
ALIKE = 0.8  # share of the variance that correlated challengers have in common, beside the champion's
SIZES = [pytest.param(1000, id="short"), pytest.param(20_000, id="long", marks=pytest.mark.extended)]

Report = Callable[[str], None]


def make_rng(seed: int, correlation: float, heavy: bool) -> np.random.Generator:
    """Conditions are independent of each other."""
    return np.random.default_rng([seed, int(100 * correlation), heavy])


def draw_errors(rng: np.random.Generator, models: int, samples: int, heavy: bool, rows: int = ROWS) -> np.ndarray:
    """Errors of independent models on samples of rows, with variance 1; heavy: Student's t, 5 degrees of freedom."""
    errors = rng.standard_normal((models, samples, rows))
    return errors * np.sqrt(3 / rng.chisquare(5, (samples, rows))) if heavy else errors


def follow(champion: np.ndarray, own: np.ndarray, correlation: float) -> np.ndarray:
    return correlation * champion + np.sqrt(1 - correlation**2) * own


def is_not_worse(challenger: np.ndarray, champion: np.ndarray, level: float) -> np.ndarray:
    """The gate's comparison of many pairs at once; test_gate.py checks that it is the gate's."""
    return share_of_subsets(challenger**2 - (1 + GATE.margin) ** 2 * champion**2) <= level


def promotes(ratio: float, correlation: float, heavy: bool, look: int, samples: int, rows: int = ROWS) -> float:
    champion, own = draw_errors(np.random.default_rng(1), 2, samples, heavy, rows)
    challenger = ratio * follow(champion, own, correlation)
    return float(is_not_worse(challenger, champion, LEVELS[look - 1]).mean())


def promotes_any(correlation: float, heavy: bool, alike: float, samples: int) -> float:
    """Share of samples of rows on which at least one of 52 challengers that are worse by the margin is promoted."""
    champion, common, *own = draw_errors(make_rng(2, correlation, heavy), 2 + LOOKS, samples, heavy)
    promoted = np.zeros(samples, bool)
    for noise, level in zip(own, LEVELS, strict=True):
        mixed = np.sqrt(alike) * common + np.sqrt(1 - alike) * noise
        promoted |= is_not_worse((1 + GATE.margin) * follow(champion, mixed, correlation), champion, level)
    return float(promoted.mean())


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("alike", [0.0, ALIKE], ids=["independent challengers", "similar challengers"])
def test_over_52_looks_at_the_same_rows_a_worse_model_is_promoted_with_at_most_5_percent(
    samples: int, alike: float, report: Report
) -> None:
    shares = {condition: promotes_any(*condition, alike, samples) for condition in CONDITIONS}

    report(f"worse by {GATE.margin:.0%}, {LOOKS} looks at {ROWS} rows, alike {alike}, {samples} samples: {shares}")
    chance = 3 * np.sqrt(0.05 * 0.95 / samples)
    assert max(shares.values()) <= 0.05 + chance, shares
    assert np.mean(list(shares.values())) <= 0.05 + chance / np.sqrt(len(shares)), shares


def creep(correlation: float, heavy: bool, samples: int, step: float = 1.07) -> np.ndarray:
    """True RMSE after 52 challengers, each worse by a step than the champion; the first champion has 1."""
    rng = make_rng(3, correlation, heavy)
    champion = best = draw_errors(rng, 1, samples, heavy)[0]
    true = np.ones((samples, 1))
    for level in LEVELS:
        challenger = step * follow(champion, true * draw_errors(rng, 1, samples, heavy)[0], correlation)
        passed = is_not_worse(challenger, champion, level) & is_not_worse(challenger, best, level)
        champion = np.where(passed[:, None], challenger, champion)
        true = np.where(passed[:, None], step * true, true)
        best = np.where((rmse(champion, 0) < rmse(best, 0))[:, None], champion, best)
    return true[:, 0]


@pytest.mark.parametrize("samples", SIZES)
def test_many_small_losses_do_not_add_up_beyond_the_margin(samples: int, report: Report) -> None:
    shares = {condition: creep(*condition, samples) for condition in CONDITIONS}

    found = {c: (float((true > 1 + GATE.margin).mean()), float(true.max())) for c, true in shares.items()}
    report(f"7 % worse each, {LOOKS} looks, {samples} samples: share beyond the margin, largest: {found}")
    assert max(share for share, _ in found.values()) <= 0.05, found


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("rows", [7, 23])
def test_a_first_version_that_is_no_better_than_the_mean_passes_with_at_most_5_percent(
    samples: int, rows: int, report: Report
) -> None:
    """Models that follow noise, and models that follow the truth too far, whose RMSE is the mean's."""
    found = {}
    for heavy, useful in product((False, True), (False, True)):
        rng = np.random.default_rng(4)
        mean, *signals = draw_errors(rng, 1 + LOOKS, samples, heavy, rows)
        passed = []
        for signal in signals:
            own, errors = (0.3 * signal, mean + 0.3 * signal) if useful else (0.15 * signal, mean)
            against = errors if useful else mean
            passed.append(share_of_subsets((against - 2 * own if useful else mean - own) ** 2 - against**2))
        found["useful" if useful else "noise", heavy] = (
            float((passed[0] <= LEVELS[0]).mean()),
            float((np.array(passed) <= LEVELS[:, None]).any(axis=0).mean()),
        )

    report(f"no better than the mean, {rows} rows, {samples} samples: first look, any of {LOOKS}: {found}")
    assert max(share for pair in found.values() for share in pair) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / samples), found


@pytest.mark.parametrize(
    ("ratio", "correlation", "at_least"),
    [(1.0, 0.99, 0.95), (1.0, 0.95, 0.6), (0.9, 0.95, 0.9), (0.8, 0.85, 0.8)],
    ids=["equal and alike", "equal", "better by a tenth", "better by a fifth"],
)
def test_models_that_are_not_worse_are_promoted(ratio: float, correlation: float, at_least: float) -> None:
    assert promotes(ratio, correlation, heavy=False, look=1, samples=400) >= at_least


@pytest.mark.parametrize(
    ("correlation", "look", "rows"),
    [
        (0.99, 1, 23), (0.99, 10, 23), (0.99, 52, 27),
        (0.95, 1, 23), (0.95, 10, 37), (0.95, 52, 52),
        (0.85, 1, 36), (0.85, 10, 75), (0.85, 52, 110),
        (0.5, 1, 80), (0.5, 10, 180), (0.5, 52, 250),
    ],
)  # fmt: skip
def test_so_many_rows_show_that_a_model_is_better_by_a_tenth(correlation: float, look: int, rows: int) -> None:
    assert promotes(0.9, correlation, heavy=False, look=look, samples=1000, rows=rows) >= 0.78


@pytest.mark.extended
def test_power_in_figures(report: Report) -> None:
    for heavy, look, correlation in product((False, True), (1, 10, 52), (0.99, 0.95, 0.85, 0.5)):
        case = f"look {look}, correlation {correlation}, heavy {heavy}"
        ratios = (1.3, 1.2, 1.1, 1.0, 0.9, 0.8)
        shares = [promotes(ratio, correlation, heavy, look, 10_000) for ratio in ratios]
        report(f"23 rows, {case}: {dict(zip(ratios, shares, strict=True))}")
        assert shares == sorted(shares), f"a better challenger passes less often: {case}: {shares}"
        for ratio in (1.0, 0.9):
            rows = 7
            while promotes(ratio, correlation, heavy, look, 2000, rows) < 0.8 and rows < MOST_ROWS:
                rows += max(1, rows // 20)
            report(f"power 0.8 at ratio {ratio}: {rows} rows ({case})")
            assert rows < MOST_ROWS, case


def covered(heavy: bool, rows: int, samples: int) -> dict[str, float]:
    """How often the 95 % intervals of a model with R2 0.5 contain the true values."""
    rng = np.random.default_rng(6)
    errors = draw_errors(rng, 1, samples, heavy, rows)[0]
    reference = draw_errors(rng, 1, 1, heavy, 2_000_000)
    signals = rng.standard_normal((samples, rows))
    truth = {"rmse": 1.0, "mae": float(np.abs(reference).mean()), "r2": 0.5}
    limits = {
        "rmse": [limit_rmse(own, 0.95) for own in errors],
        "mae": [limit_mae(own, 0.95) for own in errors],
        "r2": [limit_r2(signal + own, own, 0.95) for signal, own in zip(signals, errors, strict=True)],
    }
    return {name: float(np.mean([low <= truth[name] <= high for low, high in found])) for name, found in limits.items()}


@pytest.mark.parametrize(
    ("samples", "least"),
    [pytest.param(200, 0.85, id="short"), pytest.param(5000, 0.9, id="long", marks=pytest.mark.extended)],
)
@pytest.mark.parametrize("rows", [7, 23, 100])
def test_intervals_cover_the_true_errors(rows: int, samples: int, least: float, report: Report) -> None:
    found = {heavy: covered(heavy, rows, samples) for heavy in (False, True)}

    report(f"coverage with {rows} rows, {samples} samples: {found}")
    assert min(found[False].values()) >= 0.945 - 3 * np.sqrt(0.05 * 0.95 / samples), found
    assert min(found[True].values()) >= least, found


@pytest.mark.extended
def test_intervals_of_a_large_holdout(report: Report) -> None:
    found = {heavy: covered(heavy, 100_000, 200) for heavy in (False, True)}

    report(f"coverage with 100,000 rows, 200 samples: {found}")
    assert min(min(values.values()) for values in found.values()) >= 0.9, found


def is_within(errors: np.ndarray, limit: float) -> np.ndarray:
    """The gate's absolute limit for many samples of rows."""
    return np.array([limit_rmse(own, 2 * GATE.confidence - 1)[1] <= limit for own in errors])


@pytest.mark.extended
@pytest.mark.parametrize("heavy", [False, True])
def test_a_model_at_the_absolute_limit_rarely_passes(heavy: bool, report: Report) -> None:
    found = {}
    for rows in (7, 23, 100):
        errors = draw_errors(np.random.default_rng(7), 1, 10_000, heavy, rows)[0]
        found[rows] = float(is_within(errors, 1.0).mean())

    report(f"true RMSE at max_rmse, heavy {heavy}, 10,000 samples: passes, by rows: {found}")
    assert max(found.values()) <= (0.13 if heavy else 0.06), found


@pytest.mark.extended
@pytest.mark.parametrize("heavy", [False, True])
def test_a_useful_first_version_passes_the_more_often_the_more_rows_there_are(heavy: bool, report: Report) -> None:
    """Like ridge regression on the possums: an RMSE of 1.26 where predicting the mean has 1.95 and the limit is 1.9."""
    found, rng = {}, np.random.default_rng(8)
    for rows in (23, 30, 40, 60):
        errors = 1.26 * draw_errors(rng, 1, 4000, heavy, rows)[0]
        mean = errors + np.sqrt(1.95**2 - 1.26**2) * rng.standard_normal(errors.shape)
        passed = is_within(errors, 1.9) & (share_of_subsets(errors**2 - mean**2) <= LEVELS[0])
        found[rows] = float(passed.mean())

    report(f"a first version, heavy {heavy}, 4,000 samples: passes, by rows: {found}")
    assert list(found.values()) == sorted(found.values())
    assert found[23] >= 0.45, found
    assert found[60] >= 0.85, found


@pytest.mark.extended
@pytest.mark.parametrize("rows", [23, 100])
def test_rare_large_errors_of_the_challenger_alone_break_the_promise(rows: int, report: Report) -> None:
    """As docs/promotion.md admits. The challenger is worse by the margin, its errors are heavy-tailed."""
    found, samples = {}, 2000
    for correlation in (0.5, 0.85, 0.95, 0.99):
        rng = make_rng(9, correlation, heavy=True)
        champion, passed = rng.standard_normal((samples, rows)), []
        for level in LEVELS:
            own = follow(champion, rng.standard_normal((samples, rows)), correlation)
            challenger = (1 + GATE.margin) * own * np.sqrt(3 / rng.chisquare(5, (samples, rows)))
            passed.append(is_not_worse(challenger, champion, level))
        found[correlation] = float(passed[0].mean()), float(np.any(passed, axis=0).mean())

    report(f"heavy-tailed challengers, {rows} rows, {samples} samples: first look, any of {LOOKS}: {found}")
    assert max(first for first, _ in found.values()) <= 0.25, found
    assert min(over_all for _, over_all in found.values()) > 0.05, found
