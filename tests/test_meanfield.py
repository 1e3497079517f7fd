"""Mean-field races and competition: their equations, invariances, what wins, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from viewrace.config import settings
from viewrace.data import Distribution
from viewrace.presets import preset
from viewrace.race import MeanField, compete, lotka_volterra, mean_field_coverage, run_mean_field

SMALL = {"data.classes": 3, "data.views": 2, "data.dim": 8, "data.patches": 5, "data.distractors": 1.0, "data.test_examples": 30}


@pytest.mark.parametrize("changes", [{}, {"net.q": 3}, {"net.q": 5, "net.rho": 3.0}, {"data.mu": 0.25}, {"data.p": 0.6}])
def test_a_mean_field_race_solves_its_equation(changes):
    field = MeanField.of(settings(SMALL | changes))
    generator = np.random.default_rng(4)
    start = np.abs(generator.normal(size=(6, 2, 1))) * 0.06 + 0.02
    strength = generator.uniform(0.8, 1.25, size=(6, 2))
    found = run_mean_field(field, torch.tensor(start, dtype=torch.float32), torch.tensor(strength, dtype=torch.float32))
    h, q, weight = field.nodes.double().numpy(), field.q, field.weight.double().numpy()

    def act(z):
        return np.minimum(z, 1) ** q / q + np.maximum(z - 1, 0)

    def wrong(x):
        return (field.classes - 1) / (field.classes - 1 + np.exp(field.rho * act(h * x).sum(axis=1)))

    def equation(s):
        return lambda _, x: s * (weight @ (wrong(x)[:, None] * h * np.minimum(h * x, 1) ** (q - 1)))

    def over(_, x):
        return -(weight @ np.log1p(-wrong(x))) - field.tolerance

    over.terminal = True
    for race in range(6):
        run = solve_ivp(equation(strength[race]), (0, 1e9), start[race, :, 0], method="LSODA", rtol=1e-8, atol=1e-10, events=over)
        np.testing.assert_allclose(found[race, :, 0].numpy(), run.y[:, -1], rtol=0.06, atol=0.01)


def test_the_nodes_of_a_mean_field_are_the_examples_in_small():
    chosen = settings(SMALL | {"data.mu": 0.3, "data.weak_amplitude": 0.2, "data.strengths": (1.0, 0.5), "data.p": (1.0, 0.7)})
    field = MeanField.of(chosen, nodes=512)
    own = Distribution(chosen.replace(**{"data.examples": 30_000}).data, 0).train().own_amplitude
    assert float(field.weight.sum()) == pytest.approx(1)
    torch.testing.assert_close(field.weight @ field.nodes**4, (own**4).mean(dim=0), rtol=0.05, atol=0)
    low = (field.nodes <= 0.2).float()
    torch.testing.assert_close(field.weight @ low, (own <= 0.2).float().mean(dim=0), rtol=0.05, atol=0.01)


@given(number=st.integers(0, 10_000), q=st.sampled_from([3, 4, 5]))
def test_the_mean_field_winner_is_the_largest_start_times_a_root_of_its_strength(number, q):
    generator = np.random.default_rng(number)
    start, s = np.abs(generator.normal(size=(3, 4))) * 0.02, generator.uniform(0.5, 2.0, size=3)
    advantage = np.log(start.max(axis=1)) + np.log(s) / (q - 2)
    if np.diff(np.sort(advantage)[-2:])[0] < 0.05:
        return
    field = MeanField(q, 10.0, 10, 1, torch.ones(1, 3), torch.ones(1), 0.05)
    end = run_mean_field(field, torch.tensor(start[None], dtype=torch.float32), torch.tensor(s[None], dtype=torch.float32))
    assert int(field.view_logits(end).argmax()) == advantage.argmax()


def test_mean_field_races_do_not_depend_on_each_other_on_order_or_on_scale():
    field = MeanField.of(settings(SMALL))
    start = 0.03 * torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(5))
    start[7].abs_().neg_()
    end = run_mean_field(field, start)
    torch.testing.assert_close(run_mean_field(field, start[17:18]), end[17:18])
    torch.testing.assert_close(run_mean_field(field, start.flip(2)), end.flip(2))
    won = field.view_logits(end).argmax(dim=1)
    smaller = field.view_logits(run_mean_field(field, 0.5 * start)).argmax(dim=1)
    assert (won == smaller).float().mean() > 0.95
    dead = (start <= 0).all(dim=2).all(dim=1)
    assert dead.any()
    torch.testing.assert_close(end[dead], start[dead])
    assert (end >= start - 1e-6).all()
    order = start.argsort(dim=2)
    assert (end.gather(2, order).diff(dim=2) >= -1e-6).all()


def test_equal_starts_share_the_race_and_a_head_start_takes_it():
    field = MeanField.of(preset())
    even = torch.full((1, 3, 1), 0.05)
    ahead = torch.tensor([[[0.06], [0.05], [0.05]]])
    shared, taken = (field.view_logits(run_mean_field(field, start))[0] for start in (even, ahead))
    assert shared.min() > 0.99 * shared.max()
    assert taken[1:].max() < 0.01 * taken[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"net.q": 1}, "net.q must be at least 2, received 1"),
        ({"train.tolerance": None}, "train.tolerance must be a loss, received none"),
        ({"data.layout": "flat"}, "data.layout must be patches, received flat"),
        ({"net.family": "mlp"}, "net.family must be patch, received mlp"),
    ],
)
def test_settings_without_a_race_are_refused(refusal, changes, words):
    assert words in refusal(MeanField.of, settings(SMALL | changes))


def test_mean_field_coverage_follows_the_init():
    sharp, _ = mean_field_coverage(preset().replace(**{"net.init": 0.01}), races=300)
    blunt, x = mean_field_coverage(preset().replace(**{"net.init": 0.3}), races=300)
    assert sharp == pytest.approx(1 / 3, abs=0.02)
    assert blunt > 0.45
    assert x.shape == (300, 3, 5)


@pytest.mark.parametrize("q", [2, 3, 4, 5])
def test_a_competition_ends_where_its_equation_ends(q):
    start, rate, capacity, left = np.array([0.05, 0.04, 0.0]), np.array([1.0, 1.3, 2.0]), 1.5, 0.02
    race = compete if q > 2 else lambda s, r, _, left, capacity: lotka_volterra(s, r, left, capacity)
    found = race(torch.from_numpy(start), torch.from_numpy(rate), q, left, capacity)

    def over(_, s):
        return 1 - left - (s**2).sum() / capacity**2

    over.terminal = True
    solved = solve_ivp(
        lambda _, s: rate * s ** (q - 1) * (1 - (s**2).sum() / capacity**2), (0, 1e6), start, rtol=1e-10, atol=1e-12, events=over
    )
    np.testing.assert_allclose(found.numpy(), solved.y[:, -1], rtol=1e-5, atol=1e-9)
    assert float(found.square().sum()) == pytest.approx((1 - left) * capacity**2, rel=1e-9)


def test_with_equal_rates_lotka_volterra_keeps_the_leads_and_the_power_form_does_not():
    start, rate = torch.tensor([0.03, 0.05, 0.02]), torch.ones(3)
    equal = lotka_volterra(start, rate)
    torch.testing.assert_close(equal / equal.sum(), (start / start.sum()).double())
    assert float(compete(start, rate, 4).amax()) > 0.99


def test_races_that_cannot_be_are_refused_or_stay(refusal):
    none, rate = torch.zeros(2, 3), torch.ones(3)
    assert (compete(none, rate, 4) == 0).all()
    for start, q, left in ((none, 1, 0.1), (none, 3, 0.0), (torch.ones(3), 3, 0.1)):
        assert "a competition needs" in refusal(compete, start, rate, q, left)
