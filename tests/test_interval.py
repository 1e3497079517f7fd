"""Intervals that cover what they should, and say so where nothing varies."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from viewrace.measure import bootstrap, bootstrap_difference, success_share
from viewrace.streams import Stream, numpy_generator


def dice(index: int = 0) -> np.random.Generator:
    return numpy_generator(0, Stream.BOOTSTRAP, index)


samples = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(values=samples)
def test_an_interval_holds_its_mean_within_the_values(values):
    found = bootstrap(values, dice())
    assert found.value == pytest.approx(np.mean(values))
    assert found.n == len(values)
    tiny = 1e-9
    assert min(values) - tiny <= found.low <= found.value + tiny
    assert found.value - tiny <= found.high <= max(values) + tiny


@given(values=samples, shift=st.floats(-3, 3), scale=st.floats(0.1, 10))
def test_an_interval_moves_with_its_values(values, shift, scale):
    before, after = bootstrap(values, dice()), bootstrap(scale * np.array(values) + shift, dice())
    for name in ("value", "low", "high"):
        assert getattr(after, name) == pytest.approx(scale * getattr(before, name) + shift, abs=1e-9)


def test_an_interval_shrinks_as_one_over_the_root_of_n():
    widths = []
    for count in (50, 200, 800):
        found = bootstrap(dice(count).random(count), dice())
        widths.append(found.high - found.low)
        assert widths[-1] == pytest.approx(2 * 1.96 * (1 / 12) ** 0.5 / count**0.5, rel=0.2)


def test_a_single_value_says_nothing():
    found = bootstrap([0.4], dice())
    assert (found.value, found.low, found.high, found.n) == (0.4, 0.0, 1.0, 1)
    apart = bootstrap_difference([0.4], [0.1, 0.2], dice())
    assert (apart.value, apart.low, apart.high, apart.n) == (pytest.approx(0.25), -1.0, 1.0, 1)


def test_what_is_not_finite_counts_as_nothing_learned():
    broken = [1.0, math.nan, math.inf, -math.inf]
    assert bootstrap(broken, dice()) == bootstrap([1.0, 0.0, 0.0, 0.0], dice())


def test_one_generator_gives_one_interval():
    values = dice(5).random(30)
    assert bootstrap(values, dice()) == bootstrap(values, dice())
    assert bootstrap(values, dice()) != bootstrap(values, dice(1))


def test_roots_are_resampled_within_themselves():
    """Values that differ between root seeds alone leave no doubt about these root seeds."""
    values, roots = [0.2, 0.2, 0.2, 0.8, 0.8, 0.8], [1, 1, 1, 2, 2, 2]
    within = bootstrap(values, dice(), roots)
    assert (within.low, within.high) == pytest.approx((0.5, 0.5))
    assert "within 2 root seeds" in within.method
    across = bootstrap(values, dice())
    assert across.high - across.low > 0.3
    assert "root" not in across.method


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    trials, chance, count = 200, 0.4, 40
    truth = dice(7)
    covered = 0
    for trial in range(trials):
        found = bootstrap(truth.random(count) < chance, dice(trial))
        covered += found.low <= chance <= found.high
    assert 0.88 <= covered / trials <= 0.99


def test_the_interval_of_a_difference_covers_the_truth_about_as_often_as_it_says():
    truth = dice(8)
    covered = 0
    for trial in range(200):
        found = bootstrap_difference(truth.random(40) < 0.7, truth.random(25) < 0.4, dice(trial))
        covered += found.low <= 0.3 <= found.high
        assert found.n == 25
    assert 0.88 <= covered / 200 <= 0.99


@given(first=samples, second=samples)
def test_a_difference_is_that_of_the_means(first, second):
    found = bootstrap_difference(first, second, dice())
    assert found.value == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9


@given(count=st.integers(2, 300), passed=st.booleans())
def test_units_that_all_passed_or_all_failed_have_the_exact_interval(count, passed):
    found = success_share(np.full(count, float(passed)), dice())
    exact = binomtest(count * passed, count).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert (found.value, found.n, found.method) == (passed, count, "exact, networks all alike")


@given(values=samples, roots=st.integers(1, 3))
def test_where_some_passed_and_some_did_not_it_is_the_bootstrap(values, roots):
    values = [*values, 0.5]
    at = np.arange(len(values)) % roots
    assert success_share(values, dice(), at) == bootstrap(values, dice(), at)


def test_one_unit_that_passed_says_nothing():
    assert success_share([1.0], dice()) == bootstrap([1.0], dice())


def test_a_share_that_is_nearly_one_is_covered_though_trials_within_a_unit_hang_together():
    """A unit fails all of its tests at once, or none; half of the time none of 20 units does."""
    chance, truth = 0.97, dice(9)
    draws = [truth.random(20) < chance for _ in range(300)]
    plain, exact = ([make(draw, dice()) for draw in draws] for make in (bootstrap, success_share))
    assert np.mean([found.low <= chance <= found.high for found in exact]) >= 0.95
    assert np.mean([found.low <= chance <= found.high for found in plain]) < 0.6


def test_with_root_seeds_the_bound_holds_for_their_mean():
    """The chance that all pass is largest where all root seeds are alike."""
    least = success_share(np.ones(9), dice(), np.repeat([0, 1, 2], 3)).low
    truth = dice(10)
    for _ in range(50):
        chances = truth.random(3) ** 0.1
        if np.prod(chances**3) > 0.025:
            assert chances.mean() >= least
