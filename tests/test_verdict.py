"""The rules of judgement: each can support, refute and stay undecided."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewrace.claims.verdict import Verdict, at_least, at_most, combine, within
from viewrace.measure import Estimate


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 10, "bootstrap over networks")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.30, 0.36, "supported"), (0.30, 0.40, "inconclusive"), (0.39, 0.45, "refuted"), (0.10, 0.27, "refuted")],
)
def test_within_asks_for_the_whole_interval(low, high, expected):
    assert within("x", 1 / 3, estimate((low + high) / 2, low, high), 0.05).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.96, 1.0, "supported"), (0.90, 0.97, "inconclusive"), (0.8, 0.94, "refuted")]
)
def test_at_least_asks_for_the_whole_interval(low, high, expected):
    assert at_least("x", 0.95, estimate((low + high) / 2, low, high)).verdict == expected


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.20, 0.02, 0.40, "supported"),
        (0.20, -0.01, 0.40, "inconclusive"),
        (0.08, 0.05, 0.12, "inconclusive"),
        (0.05, 0.02, 0.09, "refuted"),
    ],
)
def test_at_least_clear_of_asks_for_the_estimate_and_a_clear_interval(value, low, high, expected):
    assert at_least("x", 0.10, estimate(value, low, high), clear_of=0.0).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-0.1, 0.04, "supported"), (0.0, 0.1, "inconclusive"), (0.06, 0.2, "refuted")]
)
def test_at_most_asks_for_the_whole_interval(low, high, expected):
    assert at_most("x", 0.05, estimate((low + high) / 2, low, high)).verdict == expected


@pytest.mark.parametrize(
    ("bound", "low", "told"),
    [
        (1 / 3 + 0.05, 0.5, "0.383"),
        (1 / 3 + 0.05, 0.3831, "0.383333"),
        (0.05, 0.5, "0.05"),
        (0.95, 0.5, "0.95"),
        (2.0, 0.5, "2"),
        (1e-6 / 3, 0.5, "3.33e-07"),
        (0.0, 0.0, "0"),
    ],
)
def test_a_rule_has_three_decimals_where_they_tell_the_same(bound, low, told):
    found = estimate(0.6, low, 0.7)
    assert at_least("x", bound, found).rule == f"at least {told}"
    assert at_most("x", bound, found).rule == f"at most {told}"
    assert within("x", 0.0, found, bound).rule == f"interval within {told} of the prediction"


def test_a_number_that_is_not_finite_decides_nothing():
    assert within("x", 0.5, estimate(math.nan, math.nan, math.nan), 0.05).verdict == "inconclusive"


@given(st.lists(st.sampled_from(["supported", "refuted", "inconclusive"]), min_size=1, max_size=6))
def test_a_claim_is_as_good_as_its_worst_check(found):
    samples = {"supported": (0.5, 0.5, 0.5), "refuted": (0.9, 0.9, 0.9), "inconclusive": (0.5, 0.3, 0.7)}
    checks = [within("x", 0.5, estimate(*samples[name]), 0.05) for name in found]
    expected = "refuted" if "refuted" in found else "inconclusive" if "inconclusive" in found else "supported"
    assert combine(checks) == expected


def test_a_verdict_survives_the_trip_through_json():
    checks = (within("x", 0.5, estimate(0.5, 0.48, 0.52), 0.05), at_most("y", 0.1, estimate(0.0, 0.0, 0.3)))
    verdict = Verdict("id", "statement", "source", checks, ("1 of 2 stuck",), {"n": [1.0, 2.0]}, seconds=1.25)
    tree = verdict.to_json()
    assert Verdict.from_json(tree) == verdict
    assert tree["verdict"] == "inconclusive"
    assert {"id", "statement", "source", "predicted", "estimate", "low", "high", "n", "verdict", "flags", "seconds"} <= set(tree)
