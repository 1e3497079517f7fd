"""The closed forms against exact enumeration of every lottery, and against each other."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewrace import theory

SMALL = [(views, members) for views in (1, 2, 3, 4) for members in (0, 1, 2, 3, 4)]


def enumerated(chances: list[Fraction], members: int) -> Fraction:
    """Mean coverage of `members` independent networks, over every way their winners can fall."""
    total = Fraction(0)
    for winners in itertools.product(range(len(chances)), repeat=members):
        chance = Fraction(1)
        for winner in winners:
            chance *= chances[winner]
        total += chance * Fraction(len(set(winners)), len(chances))
    return total


@pytest.mark.parametrize(("views", "members"), SMALL)
def test_the_law_of_ensembles_is_the_mean_over_every_lottery(views, members):
    fair = [Fraction(1, views)] * views
    assert theory.ensemble_coverage(views, members) == pytest.approx(float(enumerated(fair, members)), abs=1e-15)


@pytest.mark.parametrize("members", [0, 1, 2, 3, 4, 5])
def test_an_unfair_lottery_covers_what_enumeration_says(members):
    chances = [Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)]
    expected = float(enumerated(chances, members))
    assert theory.expected_union([float(chance) for chance in chances], members) == pytest.approx(expected, abs=1e-15)


def test_classes_of_unlike_lotteries_are_averaged():
    chances = [[Fraction(1, 2), Fraction(1, 2)], [Fraction(1), Fraction(0)]]
    expected = float(sum(enumerated(row, 3) for row in chances) / 2)
    assert theory.expected_union(np.array(chances, dtype=float), 3) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("views", [1, 2, 3, 7])
def test_the_laws_meet_where_they_should(views):
    assert theory.single_coverage(views) == pytest.approx(theory.ensemble_coverage(views, 1))
    assert theory.self_distilled_coverage(views, 0) == pytest.approx(theory.single_coverage(views))
    assert theory.self_distilled_coverage(views, 1) == pytest.approx(theory.ensemble_coverage(views, 2))
    assert theory.student_coverage(theory.single_coverage(views)) == theory.single_coverage(views)


@given(views=st.integers(2, 20), members=st.integers(0, 30))
def test_coverage_rises_with_members_towards_one_and_falls_with_views(views, members):
    here = theory.ensemble_coverage(views, members)
    assert here < theory.ensemble_coverage(views, members + 1) <= 1
    assert here >= theory.ensemble_coverage(views + 1, members)
    assert theory.ensemble_coverage(views, 10_000) == pytest.approx(1.0)


lotteries = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6).map(lambda raw: np.array(raw) / np.sum(raw))


@given(chances=lotteries, members=st.integers(0, 12))
def test_no_lottery_covers_more_than_the_fair_one(chances, members):
    views = len(chances)
    assert theory.expected_union(chances, members) <= theory.ensemble_coverage(views, members) + 1e-12
    fair = theory.expected_union(np.full(views, 1 / views), members)
    assert fair == pytest.approx(theory.ensemble_coverage(views, members), abs=1e-12)


@given(chances=lotteries)
def test_two_members_lose_exactly_the_variance_of_the_lottery(chances):
    deficit = theory.ensemble_coverage(len(chances), 2) - theory.expected_union(chances, 2)
    assert deficit == pytest.approx(np.var(chances), abs=1e-12)


def test_results_have_the_shape_of_the_members():
    counts = np.arange(6).reshape(2, 3)
    lottery = np.full((4, 5, 2), 0.5)
    assert theory.ensemble_coverage(2, 3).shape == ()
    for law in (
        theory.ensemble_coverage(2, counts),
        theory.self_distilled_coverage(2, counts),
        theory.expected_union(lottery, counts),
    ):
        assert law.shape == (2, 3)
    each = [[theory.expected_union(lottery, int(count)) for count in row] for row in counts]
    np.testing.assert_allclose(theory.expected_union(lottery, counts), each, rtol=1e-15)


def test_bad_values_are_refused_with_the_rule_and_the_value(refusal):
    assert refusal(theory.single_coverage, 0).startswith("views must be at least 1, received 0")
    assert refusal(theory.ensemble_coverage, -2, 3).startswith("views must be at least 1, received -2")
    assert refusal(theory.ensemble_coverage, 3, [2, -1]).startswith("members must be at least 0, received -1")
    assert refusal(theory.self_distilled_coverage, 3, -2).startswith("members must be at least 0, received -1")
    assert refusal(theory.student_coverage, 1.2).startswith("coverage lies in [0, 1], received 1.2")
    assert refusal(theory.student_coverage, float("nan")).startswith("coverage lies in [0, 1], received nan")
