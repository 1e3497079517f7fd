"""Temperature scaling, NLL, Brier score and calibration error: optima, closed forms, and no peeking."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from viewrace.measure import brier, cross_fitted, ece, fit_temperature, halves, nll, reliability


def forecasts(seed: int, examples: int = 400, classes: int = 4, sharp: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from softmax(logits): calibrated at temperature `sharp` once multiplied by it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (examples, classes))
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chance.cumsum(axis=1) < rng.random((examples, 1))).sum(axis=1).clip(max=classes - 1)
    return torch.from_numpy(logits * sharp), torch.from_numpy(labels)


@given(st.integers(0, 10**6), st.floats(0.2, 8.0))
def test_the_temperature_is_the_minimum_that_scipy_finds(seed, sharp):
    logits, labels = forecasts(seed, 60, 3, sharp)

    def loss(log_temperature):
        return float(torch.nn.functional.cross_entropy(logits / math.exp(log_temperature), labels))

    best = minimize_scalar(loss, bounds=(math.log(0.01), math.log(100)), method="bounded", options={"xatol": 1e-9})
    found = float(fit_temperature(logits, labels))
    assert loss(math.log(found)) <= best.fun + 1e-9
    if 0.05 < found < 20:
        assert math.log(found) == pytest.approx(best.x, abs=1e-3)


def test_scaling_the_logits_scales_the_temperature_and_leaves_the_probabilities():
    logits, labels = forecasts(0)
    half = halves(labels, np.random.default_rng(0))
    plain, cold = cross_fitted(logits, labels, half)
    scaled, warm = cross_fitted(7 * logits, labels, half)
    assert torch.allclose(warm, 7 * cold, rtol=1e-6)
    assert torch.allclose(plain, scaled, atol=1e-8)


def test_calibrated_forecasts_have_temperature_one_and_overconfident_ones_their_own():
    logits, labels = forecasts(1, examples=20_000)
    assert float(fit_temperature(logits, labels)) == pytest.approx(1.0, abs=0.03)
    assert float(fit_temperature(3 * logits, labels)) == pytest.approx(3.0, abs=0.1)


def test_many_at_once_are_each_alone():
    logits, labels = forecasts(2)
    many = torch.stack([logits, 5 * logits, logits.flip(0)])
    together = fit_temperature(many, labels)
    assert together.tolist() == pytest.approx([float(fit_temperature(one, labels)) for one in many])


def test_always_right_is_so_sharp_that_nothing_is_lost_and_always_wrong_is_softest():
    labels = torch.tensor([0, 1, 0, 1])
    logits = torch.nn.functional.one_hot(labels, 2).double()
    assert float(nll((logits / fit_temperature(logits, labels)).log_softmax(-1), labels).max()) < 1e-12
    assert float(fit_temperature(-logits, labels)) == pytest.approx(100.0, rel=1e-3)


def test_no_example_is_judged_at_a_temperature_that_saw_it():
    logits, labels = forecasts(3)
    half = halves(labels, np.random.default_rng(1))
    before, _ = cross_fitted(logits, labels, half)
    changed = torch.where(half, (labels + 1) % 4, labels)
    after, _ = cross_fitted(logits, changed, half)
    assert torch.equal(before[half], after[half])
    assert not torch.allclose(before[~half], after[~half])


def test_halves_are_of_every_class():
    labels = torch.arange(60) % 3
    half = halves(labels, np.random.default_rng(0))
    assert [int(half[labels == label].sum()) for label in range(3)] == [10, 10, 10]


def test_nll_and_brier_in_closed_form():
    log_probability = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.9, 0.0]]).log()
    labels = torch.tensor([0, 1])
    assert nll(log_probability, labels).tolist() == pytest.approx([math.log(2), -math.log(0.9)])
    assert brier(log_probability, labels).tolist() == pytest.approx([0.25 + 2 * 0.0625, 0.01 + 0.01])


def test_calibration_error_in_closed_form():
    """Half of the examples at confidence 0.6, all right; half at 0.9, two thirds right."""
    low, high = torch.tensor([0.6, 0.4]).log(), torch.tensor([0.9, 0.1]).log()
    log_probability = torch.stack([low] * 6 + [high] * 6)
    labels = torch.tensor([0] * 10 + [1] * 2)
    assert ece(log_probability, labels, bins=2) == pytest.approx(0.5 * 0.4 + 0.5 * (0.9 - 2 / 3))
    rows = reliability(log_probability, labels, bins=2)
    assert rows == pytest.approx(np.array([[0.6, 1.0, 0.5], [0.9, 2 / 3, 0.5]]))


@given(st.integers(0, 10**6))
def test_calibration_error_does_not_depend_on_the_order_of_the_examples(seed):
    logits, labels = forecasts(seed, 60)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(60))
    log_probability = logits.log_softmax(-1)
    assert ece(log_probability, labels, 6) == pytest.approx(ece(log_probability[order], labels[order], 6))


def test_calibrated_forecasts_have_a_small_calibration_error():
    logits, labels = forecasts(4, examples=20_000)
    assert ece(logits.log_softmax(-1), labels) < 0.01
    assert ece((3 * logits).log_softmax(-1), labels) > 0.1
