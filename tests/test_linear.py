"""Deep linear networks: the closed forms against other integrators, the flow's invariants, refusals, the claim."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import viewrace
from viewrace.claims import find
from viewrace.claims.deep_linear import CORRELATIONS, INITS, LAYERS, POWERS, WIDTHS, task
from viewrace.nets import DeepLinear
from viewrace.race import linear
from viewrace.race.rungekutta import trajectory
from viewrace.streams import Stream, torch_generator

UNIT = st.floats(0.2, 2.0)


def draw(*shape, index=0):
    return torch.randn(shape, generator=torch_generator(0, Stream.INIT, index), dtype=torch.float64)


def frame(rows, columns, index):
    return torch.linalg.qr(draw(rows, columns, index=index)).Q


@pytest.fixture(scope="module")
def toy():
    """12 examples of 5 inputs and 3 targets with modes of s = 1, 0.7, 0.4 and lambda = 1, 1.5, 0.5."""
    s, power = torch.tensor([1.0, 0.7, 0.4]).double(), torch.tensor([1.0, 1.5, 0.5, 2.0, 0.3]).double()
    right, left = frame(5, 5, 1), frame(3, 3, 2)
    inputs = 12**0.5 * (frame(12, 5, 3) * power.sqrt()) @ right.T
    targets = inputs @ (right[:, :3] * (s / power[:3])) @ left.T
    return inputs, targets, linear.modes_of(inputs, targets)


def family(layers, hidden=4):
    return DeepLinear(3, 5, 1, (hidden,) * (layers - 1), 1.0)


def generators(count):
    return [torch_generator(0, Stream.INIT, 9, index) for index in range(count)]


def by_autograd(net, inputs, targets):
    """The gradient of the loss as it is defined, one network at a time."""

    def loss(params):
        return (targets - net.apply(params, inputs[:, None, :])).square().sum(dim=1).mean() / 2

    return torch.func.vmap(torch.func.grad(loss))


def test_the_modes_of_a_task_are_those_it_was_made_of(toy):
    inputs, targets, modes = toy
    torch.testing.assert_close(modes.s, torch.tensor([1.0, 0.7, 0.4]).double())
    torch.testing.assert_close(modes.power, torch.tensor([1.0, 1.5, 0.5]).double())
    torch.testing.assert_close(targets.T @ inputs / 12, modes.left.T @ torch.diag(modes.s) @ modes.right)


@given(start=st.floats(0.01, 3.0), s=UNIT, power=UNIT)
def test_the_logistic_solves_its_equation(start, s, power):
    times = np.linspace(0, 6, 13)
    solved = solve_ivp(lambda _, a: 2 * a * (s - power * a), (0, 6), [start], t_eval=times, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(linear.logistic(times, [start], [s], [power])[:, 0], solved.y[0], rtol=1e-6)


@given(start=st.floats(0.05, 3.0), s=UNIT, power=UNIT, layers=st.integers(1, 5))
def test_the_strength_solves_its_equation_at_every_depth(start, s, power, layers):
    times = np.linspace(1, 5, 9)  # the start is the strength at the first time, whatever that is

    def slope(_, a):
        return layers * a ** (2 - 2 / layers) * (s - power * a)

    solved = solve_ivp(slope, (1, 5), [start], t_eval=times, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(linear.strength(times, [start], [s], [power], layers)[:, 0], solved.y[0], rtol=1e-6)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_a_network_trained_by_autograd_follows_the_closed_form(toy, layers):
    inputs, targets, modes = toy
    net, start = family(layers), torch.tensor([[0.1, 0.05, 0.2], [0.02, 0.3, 0.01]]).double()
    params = linear.aligned_init(modes, start, (4,) * (layers - 1), generators(2))
    times = torch.linspace(0, 12, 31).double()
    gradient = by_autograd(net, inputs, targets)
    seen = trajectory(gradient, params, times, lambda now: linear.mode_strengths(now, modes), 1e-3).values
    for seed in range(2):
        law = linear.strength(times.numpy(), start[seed].numpy(), modes.s.numpy(), modes.power.numpy(), layers)
        np.testing.assert_allclose(seen[:, seed].numpy(), law, atol=2e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_gradient_is_that_of_half_the_mean_squared_error(toy, layers):
    inputs, targets, _ = toy
    net = family(layers)
    params = {name: tensor.double() for name, tensor in net.init(generators(3)).items()}
    found, expected = linear.squared_error_gradient(net, inputs, targets)(params), by_autograd(net, inputs, targets)(params)
    for name in params:
        torch.testing.assert_close(found[name], expected[name])


def test_differences_between_layers_are_conserved_from_any_init(toy):
    inputs, targets, _ = toy
    net = family(3)
    params = {name: tensor.double() for name, tensor in net.init(generators(2)).items()}

    def differences(now):
        return torch.stack(
            [now[f"weight_{k + 1}"].mT @ now[f"weight_{k + 1}"] - now[f"weight_{k}"] @ now[f"weight_{k}"].mT for k in range(2)]
        )

    times = torch.linspace(0, 5, 21).double()
    found = trajectory(linear.squared_error_gradient(net, inputs, targets), params, times, differences, 1e-5)
    torch.testing.assert_close(found.values[-1], found.values[0], rtol=0, atol=1e-6)
    assert float((found.params["weight_0"] - params["weight_0"]).abs().max()) > 0.1


def test_a_mode_of_unbalanced_layers_keeps_the_difference_of_their_squares(toy):
    inputs, targets, modes = toy
    params = linear.aligned_init(modes, torch.full((1, 3), 0.04).double(), (4,), generators(1))
    params = {"weight_0": 3 * params["weight_0"], "weight_1": params["weight_1"] / 3}

    def differences(now):
        into, out = now["weight_0"] @ modes.right.T, now["weight_1"].mT @ modes.left.T
        return (into.square() - out.square()).sum(dim=1)

    times = torch.linspace(0, 8, 41).double()
    found = trajectory(linear.squared_error_gradient(family(2), inputs, targets), params, times, differences, 1e-7)
    torch.testing.assert_close(found.values, torch.full_like(found.values, 0.04 * (9 - 1 / 9)), rtol=1e-5, atol=0)


def test_modes_do_not_see_one_another(toy):
    inputs, targets, modes = toy
    start = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.6, 0.01]]).double()
    params = linear.aligned_init(modes, start, (4, 4), generators(2))
    times = torch.linspace(0, 6, 31).double()
    gradient = linear.squared_error_gradient(family(3), inputs, targets)
    seen = trajectory(gradient, params, times, lambda now: linear.mode_strengths(now, modes), 1e-8).values
    torch.testing.assert_close(seen[:, 0, 0], seen[:, 1, 0], rtol=1e-6, atol=1e-9)
    assert float((seen[:, 0, 1] - seen[:, 1, 1]).abs().max()) > 0.1


@given(start=st.floats(1e-4, 0.05), s=UNIT, power=UNIT, layers=st.integers(1, 4), fraction=st.floats(0.3, 0.95))
def test_at_its_escape_time_a_mode_has_that_fraction(start, s, power, layers, fraction):
    time = linear.escape_time(start, s, power, layers, fraction)
    reached = linear.strength([0.0, time], [start], [s], [power], layers)[-1, 0]
    assert reached == pytest.approx(fraction * s / power, rel=1e-6)


@pytest.mark.parametrize("layers", [3, 4])
def test_the_escape_of_a_deep_network_waits_for_a_power_of_its_start(layers):
    small, smaller = (linear.escape_time(start, 1.0, layers=layers) for start in (1e-9, 1e-12))
    assert smaller / small == pytest.approx(1000 ** (1 - 2 / layers), rel=0.01)


def largest_miss(seen, start, times, modes):
    """(seed, mode) over times, of the logistic from `start` (seed, mode)."""
    law = [linear.logistic(times.numpy(), row.numpy(), modes.s.numpy(), modes.power.numpy()) for row in start]
    return np.abs(seen - np.stack(law, axis=1)).max(axis=0)


def test_a_random_init_joins_the_logistic_of_its_strength_after_the_stronger_modes(toy):
    inputs, targets, modes = toy
    net = DeepLinear(3, 5, 1, (10,), 1e-4)
    params = {name: tensor.double() for name, tensor in net.init(generators(4)).items()}
    times = torch.linspace(0, 70, 141).double()
    gradient = linear.squared_error_gradient(net, inputs, targets)
    seen = trajectory(gradient, params, times, lambda now: linear.mode_strengths(now, modes), 1e-4).values.numpy()
    early, settled = linear.early_strength(params, modes), linear.settled_strength(params, modes)
    assert largest_miss(seen, settled, times, modes).max() < 0.003
    missed = largest_miss(seen, early, times, modes)
    assert missed[:, 0].max() < 0.003  # nothing escapes before the first mode
    assert missed[:, 1:].max() > 0.05
    raw = torch.from_numpy(np.abs(seen[0]))  # the product at the init itself is the wrong start
    assert largest_miss(seen, raw, times, modes)[:, 0].max() > 0.1


def test_the_trajectory_is_exact_to_its_tolerance_and_says_so_where_it_is_not():
    times = torch.linspace(0, 4, 5).double()
    found = trajectory(lambda now: {"w": now["w"]}, {"w": torch.ones(2, 3).double()}, times, lambda now: now["w"], 1e-6)
    torch.testing.assert_close(found.values[:, 0, 0], torch.exp(-times), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.params["w"], found.values[-1])
    assert found.change <= 1e-6
    stiff = trajectory(lambda now: {"w": 1e6 * now["w"]}, {"w": torch.ones(1).double()}, times, lambda now: now["w"], 1e-6)
    assert stiff.substeps == 64
    assert stiff.change == math.inf


def test_refusals_say_the_rule_the_value_and_what_to_do(toy, refusal):
    inputs, targets, modes = toy
    assert "must be above 0, received 0" in refusal(linear.logistic, [0.0, 1.0], [0.0], [1.0])
    assert "s must be above 0, received -1" in refusal(linear.strength, [0.0, 1.0], [0.1], [-1.0], layers=3)
    assert "layers must be at least 1, received 0" in refusal(linear.strength, [0.0, 1.0], [0.1], [1.0], layers=0)
    assert "one hidden layer, received 2: start aligned" in refusal(
        linear.early_strength, dict.fromkeys(("a", "b", "c"), inputs), modes
    )
    narrow = {"weight_0": torch.ones(1, 2, 5).double(), "weight_1": torch.ones(1, 3, 2).double()}
    assert "a unit for each of 3 modes, received 2" in refusal(linear.settled_strength, narrow, modes)
    assert "received 2: widen" in refusal(linear.aligned_init, modes, torch.ones(1, 3).double(), (4, 2), generators(1))
    assert "received a start of 0.6 and a fraction of 0.5" in refusal(linear.escape_time, 0.6, 1.0)
    assert "whiten the inputs" in refusal(linear.modes_of, inputs, targets + draw(12, 3, index=4))
    assert "received a correlation of 0" in refusal(linear.modes_of, inputs, 0 * targets)


@pytest.mark.parametrize("whitened", [True, False])
def test_the_task_of_the_claim_has_the_modes_it_states(whitened):
    _, _, modes = task(5, whitened)
    np.testing.assert_allclose(modes.s.numpy(), CORRELATIONS, rtol=1e-9)
    spread = np.ptp(modes.power.numpy())
    assert spread < 1e-9 if whitened else spread > 0.1
    assert POWERS[0] <= float(modes.power.min()) <= float(modes.power.max()) <= POWERS[1]


def measured(deviation):
    shape, wide = (2, len(LAYERS), 2, 5), (2, len(WIDTHS), len(INITS), 5)
    spread = 1 + 0.1 * np.random.default_rng(0).normal(size=shape)
    return xr.Dataset(
        {
            "deviation": (("root", "layers", "inputs", "seed"), deviation * spread),
            "deviation_random": (("root", "width", "init", "seed"), np.full(wide, 0.3)),
        },
        coords={"root": [1, 2], "layers": list(LAYERS), "width": list(WIDTHS), "init": list(INITS)},
    )


@pytest.mark.parametrize(("deviation", "verdict"), [(1e-4, "supported"), (0.01, "inconclusive"), (0.05, "refuted")])
def test_the_claim_is_judged_by_the_deviation(deviation, verdict):
    judged = find("deep-linear").judge(measured(deviation))
    assert judged.verdict == verdict
    assert [check.n for check in judged.checks] == [20] * len(LAYERS)


@pytest.mark.slow
def test_the_claim_at_smoke_scale():
    study = viewrace.reproduce(["deep-linear"], scale="smoke", seed=0)
    assert study["deep-linear"].verdict == "supported"
    assert float(study.data["deep-linear"]["step_change"].max()) < 1e-4
