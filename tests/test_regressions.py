"""Faults that were found once and must not come back."""

import math

import numpy as np
import pytest
import torch

from viewrace.config import Train, settings
from viewrace.data import Distribution, check
from viewrace.errors import ViewraceError
from viewrace.measure import bootstrap, bootstrap_difference, coverage
from viewrace.nets import PatchNet
from viewrace.nets.activation import smoothed_relu
from viewrace.presets import resolve
from viewrace.streams import Stream, torch_generator
from viewrace.train import HardLoss, Outcome, train


def test_a_seed_that_is_nan_changes_nothing_for_those_beside_it():
    net = PatchNet(classes=2, dim=3, patches=1, width=1, q=3, rho=1.0, init=1.0)
    inputs, weight = torch.eye(3)[:, None, :], torch.full((1, 2, 1, 3), 5.0)
    alone = net.logits({"weight": weight}, inputs)[0]
    beside = net.logits({"weight": torch.cat([weight, weight * math.nan])}, inputs)[0]
    assert torch.equal(alone, beside)


def test_a_nan_run_is_a_flagged_result():
    net = PatchNet(classes=2, dim=3, patches=1, width=2, q=2, rho=1.0, init=0.5)
    init = net.init([torch_generator(0, Stream.INIT, index) for index in range(3)])
    init["weight"][1] = math.nan
    inputs, labels = torch.eye(3)[:2, None, :], torch.tensor([0, 1])
    found = train(net, init, inputs, HardLoss(labels), Train(steps=400))
    assert found.outcome[1] == Outcome.DIVERGED
    assert Outcome.DIVERGED not in found.outcome[[0, 2]].tolist()


def test_zero_weights_are_stuck_and_not_diverged():
    net = PatchNet(classes=2, dim=3, patches=1, width=2, q=3, rho=1.0, init=0.5)
    found = train(
        net, {"weight": torch.zeros(1, 2, 2, 3)}, torch.eye(3)[:2, None, :], HardLoss(torch.tensor([0, 1])), Train(steps=50)
    )
    assert found.outcome.tolist() == [Outcome.STUCK_AT_INIT]


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 57])
def test_the_flow_never_spends_more_than_its_budget(steps):
    net = PatchNet(classes=2, dim=3, patches=1, width=2, q=3, rho=1.0, init=0.3)
    told = []
    init = [torch_generator(0, Stream.INIT, index) for index in range(3)]
    found = train(
        net,
        init,
        torch.eye(3)[:2, None, :],
        HardLoss(torch.tensor([0, 1])),
        Train(steps=steps, tolerance=1e-6),
        progress=told.append,
    )
    assert int(found.evaluations.max()) <= steps
    assert all(0 <= fraction <= 1 for fraction in told)


def test_a_time_limit_is_met_exactly():
    net = PatchNet(classes=2, dim=3, patches=1, width=2, q=3, rho=1.0, init=0.3)
    init = [torch_generator(0, Stream.INIT, index) for index in range(3)]
    found = train(net, init, torch.eye(3)[:2, None, :], HardLoss(torch.tensor([0, 1])), Train(time=3.0, tolerance=1e-6))
    np.testing.assert_allclose(found.time.numpy(), 3.0, rtol=1e-4)


@pytest.mark.parametrize("changes", [{"data.views": 0}, {"data.source": "digits", "data.classes": "ten"}, {"data.classes": None}])
def test_values_that_no_preset_fits_are_refused_in_one_line(changes):
    with pytest.raises(ViewraceError) as refused:
        resolve(changes)
    assert "\n" not in str(refused.value)
    with pytest.raises(ViewraceError):
        resolve({}, views=0)


def test_tied_logits_are_not_knowledge():
    assert coverage(torch.ones(1, 3, 2, 1, 3)).tolist() == [0.0]


def test_check_compares_amplitudes_before_strengths():
    config = {"data.classes": 3, "data.views": 2, "data.dim": 8, "data.patches": 6, "data.distractors": 0, "data.mu": 1.0}
    for strengths in ((2.0, 1.0), (0.1, 1.0)):
        unequal = settings(config | {"data.strengths": strengths, "data.weak_amplitude": 0.2})
        assert check(Distribution(unequal.data, 1)).views_shown == (1.0, 0.0)


def test_check_says_when_there_are_too_few_examples():
    few = settings({"data.classes": 3, "data.views": 2, "data.dim": 8, "data.patches": 6, "data.test_examples": 3})
    with pytest.raises(ViewraceError, match="raise it"):
        check(Distribution(few.data, 1))


def test_slope_at_the_knee_is_one():
    at = torch.tensor(2.0, requires_grad=True)
    smoothed_relu(at, q=3, rho=2.0).backward()
    assert at.grad == 1.0


def test_few_values_have_a_wide_interval():
    generator = np.random.default_rng(0)
    one_a_root = bootstrap([0.2, 0.5, 0.9], generator, roots=[1, 2, 3])
    assert (one_a_root.low, one_a_root.high) == pytest.approx((0.2, 0.9))
    infinite = bootstrap_difference([math.inf, 0, 1], [0, 1, 1], generator)
    assert math.isfinite(infinite.high)


@pytest.mark.parametrize(("count", "roots", "least"), [(5, 1, 0.86), (6, 3, 0.88), (20, 1, 0.90)])
def test_the_interval_covers_as_it_says(count, roots, least):
    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(roots), count)
    hits = 0
    for _ in range(300):
        values = generator.normal(size=count * roots)
        found = bootstrap(values, generator, labels)
        hits += found.low <= 0 <= found.high
    assert least <= hits / 300 <= 0.99
