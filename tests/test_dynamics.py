"""Three depths of the dynamics: each against the one below, closed forms, conservation, refusals."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import viewrace
from viewrace.claims.dynamics import Dynamics
from viewrace.claims.dynamics_depths import exact, own_views
from viewrace.claims.dynamics_runs import AXES, FEATURE_NOISE, LEADERS
from viewrace.claims.lab import Bench
from viewrace.config import settings
from viewrace.data import Distribution
from viewrace.nets import make_family
from viewrace.presets import preset
from viewrace.race import (
    MeanField,
    ProjectedFilm,
    Projection,
    lotka_volterra,
    mean_field_coverage,
    power_race,
    run_mean_field,
    run_projected,
)
from viewrace.race.coordinate import correlation, straight
from viewrace.race.linear_part import GROWTH
from viewrace.race.rates import Inner, Race

SMALL = {
    "data.classes": 3,
    "data.views": 2,
    "data.examples": 30,
    "data.test_examples": 30,
    "data.dim": 8,
    "data.patches": 5,
    "data.distractors": 1.0,
    "data.noise": 0.0,
    "data.feature_noise": 0.0,
    "net.width": 3,
}


def projection_of(changes=None, root=0):
    chosen = settings(SMALL | (changes or {}))
    return Projection(chosen, Distribution(chosen.data, root))


def reached(projection, scale, count=2, number=0):
    """A start, and a state of the same networks with own views up to `scale`: progress, own, height."""
    race = Race(projection, projection.start(count), torch.float64)
    generator = torch.Generator().manual_seed(number)
    progress = 5 * torch.rand(projection.count, projection.classes, count, generator=generator, dtype=torch.float64)
    alive = race.begin > -torch.inf
    height = torch.where(alive, scale * torch.rand(race.begin.shape, generator=generator, dtype=torch.float64), 0.0)
    return race, progress, straight(height, projection.q), height


def by_autograd(projection, x):
    """dx/dt of the real network's cross-entropy, from its weights in float64."""
    chosen, distribution = projection.settings, Distribution(projection.settings.data, projection.root)
    family, examples = make_family(chosen.net, chosen.data), distribution.train()
    weight = (x.permute(3, 2, 0, 1) @ projection.features * projection.rho).requires_grad_()
    frame = projection.features.T @ torch.linalg.inv(projection.features @ projection.features.T)
    inputs = torch.zeros(len(examples), chosen.data.patches, chosen.data.dim, dtype=torch.float64)
    held = examples.patch_feature >= 0
    shown = examples.amplitude.flatten(1).double().gather(1, examples.patch_feature.clamp(min=0)) / projection.patches
    inputs[held] = shown[held][:, None] * projection.features[examples.patch_feature[held]]
    losses = [
        torch.nn.functional.cross_entropy(family.apply({"weight": w}, inputs), examples.labels) for w in weight.unbind()
    ]
    (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), weight)
    return -(gradient @ frame / projection.rho).permute(2, 3, 1, 0), torch.stack(losses).detach()


@pytest.mark.parametrize("q", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("scale", "changes"),
    [
        (0.5, {}),
        (3.0, {}),
        (3.0, {"data.distractor_amplitude": (0.8, 1.2)}),
        (3.0, {"data.mu": 0.4, "data.weak_amplitude": 0.1, "data.examples": 31}),
        (2.0, {"data.patches_per_feature": 2, "data.patches": 10}),
        (2.0, {"data.strengths": (1.0, 0.6), "data.p": 0.6}),
    ],
)
def test_the_projected_rates_are_the_gradient_of_the_real_network(q, scale, changes):
    projection = projection_of(changes | {"net.q": q})
    race, progress, own, height = reached(projection, scale)
    race.watch(height)
    rates = race.measure(progress, height)
    x = race.correlations(progress, own)
    expected, loss = by_autograd(projection, x)
    slope = x.clamp(min=0) ** (q - 1)
    torch.testing.assert_close(rates.own * race.own(slope), race.own(expected), rtol=1e-6, atol=1e-9)
    race.own(expected).fill_(0)
    torch.testing.assert_close(rates.across * slope, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(race.loss(rates.wrong), loss, rtol=1e-6, atol=1e-9)
    beyond = float(height.max()) * float(projection.share.max()) > 1
    assert beyond == (scale > 1)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_inner_race_is_the_rate_before_the_same_background(scale):
    projection = projection_of()
    race, progress, own, height = reached(projection, scale)
    race.watch(height * GROWTH)
    first = race.measure(progress, height)
    later = height * 1.1
    second = race.measure(progress, later)
    columns = torch.tensor([0, 3, 5])
    pick = [value.flatten(-2)[..., columns] for value in (height, later, first.wrong, second.rival)]
    change = Inner(race, columns, pick[0], pick[2]).change(pick[1], pick[3].clone())
    whole = (second.own - second.around) - (first.own - first.around)
    torch.testing.assert_close(change, whole.flatten(-2)[..., columns], rtol=1e-9, atol=1e-12)
    assert change.abs().max() > 1e-6


def test_lifted_weights_have_the_correlations_and_the_rest_of_the_start():
    projection = projection_of()
    weight = torch.randn(2, 3, 3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.rand(3, 6, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    lifted = projection.lift(x, weight)
    torch.testing.assert_close(projection.correlations(lifted), x, rtol=0, atol=1e-6)
    torch.testing.assert_close(projection.lift(projection.correlations(weight), weight), weight)
    outside = (lifted - weight) - (lifted - weight) @ projection.features.T @ projection.features
    assert outside.abs().max() < 1e-6


def test_probes_are_the_logits_of_the_lifted_network():
    projection = projection_of({"net.q": 3, "data.patches_per_feature": 2, "data.patches": 10})
    chosen = projection.settings
    weight = make_family(chosen.net, chosen.data).init([torch.Generator().manual_seed(i) for i in range(2)])["weight"]
    x = 1.5 * torch.rand(3, 6, 3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weight = projection.lift(x, weight.double())
    probes = Distribution(chosen.data, 0).probes().double()
    family = make_family(chosen.net, chosen.data)
    logits = family.logits({"weight": weight}, probes.flatten(0, 2)).unflatten(1, probes.shape[:3])
    torch.testing.assert_close(projection.probes(x), logits, rtol=1e-5, atol=1e-5)


@given(x=st.floats(1e-4, 50.0), q=st.integers(2, 6))
def test_the_straight_coordinate_and_its_inverse(x, q):
    at = torch.tensor(x, dtype=torch.float64)
    w = straight(at, q)
    assert float(correlation(w, q)) == pytest.approx(x, rel=1e-9)
    step = 1e-6 * x
    slope = float(straight(at + step, q) - straight(at - step, q)) / (2 * step)
    assert slope == pytest.approx(x ** -(q - 1), rel=1e-5)


@pytest.mark.parametrize("q", [2, 3, 4, 5])
def test_what_starts_at_or_below_zero_stays_there(q):
    w = straight(torch.tensor([-1.0, 0.0]), q)
    assert (w == -torch.inf).all()
    assert (correlation(w + 5, q) == 0).all()


@pytest.mark.parametrize("q", [3, 4])
def test_neurons_of_one_class_and_view_keep_their_distance_while_the_power_law_holds(q):
    projection, film = projection_of({"net.q": q}), ProjectedFilm()
    run_projected(projection, projection.start(1), projection.settings.train, film=film)
    x = torch.stack(film.correlation)[:, :, torch.arange(6), torch.arange(6) // 2]
    below = (x * projection.share.amax()).amax(dim=1) < 1
    w = straight(x, q)
    apart = w[:, 0] - w[:, 1]
    known = below & torch.isfinite(apart) & torch.isfinite(apart[0])
    assert known[1:].sum() > 20
    drift = ((apart - apart[0]) / w[0].abs().amax(dim=0))[known]
    assert drift.abs().max() < 1e-6
    moved = (x[-1] - x[0]).abs().amax(dim=0)
    assert moved.max() > 0.3


def test_no_neuron_leaves_the_span_or_turns_its_sign():
    projection, film = projection_of(), ProjectedFilm()
    start = projection.start(1)
    run_projected(projection, start, projection.settings.train, film=film)
    x = torch.stack(film.correlation)
    dead = start[..., 0] <= 0
    torch.testing.assert_close(x[:, dead], start[..., 0][dead].expand(len(x), -1))
    assert (x[:, ~dead] > 0).all()


def test_a_seed_does_not_depend_on_those_beside_it_and_a_finer_error_changes_little():
    projection = projection_of()
    start, train = projection.start(5), projection.settings.train
    together = run_projected(projection, start, train)
    alone = run_projected(projection, start[..., 3:4], train)
    fine = run_projected(projection, start, train, error=1e-7, dtype=torch.float64)
    assert together.done.all()
    assert (together.loss <= train.tolerance).all()
    assert together.evaluations[3] == alone.evaluations[0]
    torch.testing.assert_close(together.correlation[..., 3:4], alone.correlation, rtol=1e-4, atol=1e-4)
    size = fine.correlation.amax()
    # the end is where the loss is met, up to a step later: a little along the path, not off it
    assert (together.correlation - fine.correlation).abs().max() < 0.1 * size
    assert (fine.evaluations > 1.5 * together.evaluations).all()


def test_a_run_ends_at_its_time_and_at_its_evaluations():
    projection = projection_of()
    start, train = projection.start(2), projection.settings.train
    half = float(run_projected(projection, start, train).time.min()) / 2
    timed = run_projected(projection, start, train.model_copy(update={"time": half}))
    torch.testing.assert_close(timed.time, torch.full((2,), half, dtype=torch.float64))
    assert timed.done.all()
    short = run_projected(projection, start, train.model_copy(update={"steps": 7}))
    assert not short.done.any()
    assert short.evaluations.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.noise": 0.1}, "data.noise must be 0, received 0.1"),
        ({"data.feature_noise": 0.05}, "data.feature_noise must be 0, received 0.05"),
        ({"data.cosine_within": 0.2}, "data.cosine_within must be 0, received 0.2"),
        ({"data.layout": "flat"}, "data.layout must be patches, received flat"),
        ({"net.family": "mlp"}, "net.family must be patch, received mlp"),
        ({"net.q": 1}, "net.q must be at least 2, received 1"),
        ({"train.loss": "mse"}, "train.loss must be ce, received mse"),
        ({"train.method": "sgd"}, "train.method must be flow, received sgd"),
        ({"train.entropy": 0.1}, "train.entropy must be 0, received 0.1"),
    ],
)
def test_what_does_not_live_in_the_span_is_refused(refusal, changes, words):
    text = refusal(projection_of, changes)
    assert words in text
    assert "train the full network" in text


def test_a_start_beyond_the_polynomial_part_or_without_an_end_is_refused(refusal):
    projection = projection_of({"net.init": 1.0})
    assert "across classes must start on the polynomial part" in refusal(
        run_projected, projection, projection.start(1), projection.settings.train
    )
    projection = projection_of()
    endless = projection.settings.train.model_copy(update={"tolerance": None})
    assert "neither train.tolerance nor train.time" in refusal(run_projected, projection, projection.start(1), endless)


def test_projected_starts_are_those_of_the_networks_that_are_trained():
    bench = Bench(settings(SMALL), 0)
    projection = Projection(bench.settings, bench.distribution)
    weight = bench.family().init(bench.generators(0, 0, 3))["weight"]
    assert torch.equal(projection.start(3), projection.correlations(weight))
    assert torch.equal(projection.start(1, first=2), projection.correlations(weight[2:]))


@pytest.mark.slow
def test_a_whole_run_is_that_of_the_full_network_integrated_closely():
    chosen = preset(classes=3).replace(**{"data.noise": 0.0, "data.feature_noise": 0.0})
    found = exact(Bench(chosen, 0), 0)
    assert found["deviation"] < 1e-4
    assert found["same_winners"] == 1
    assert found["coverage_gap"] == 0
    assert found["trained"] > 10 * found["deviation"]
    assert found["full"].max() > 1


@pytest.mark.parametrize("changes", [{}, {"net.q": 3}, {"net.q": 5, "net.rho": 3.0}, {"data.mu": 0.25}, {"data.p": 0.6}])
def test_a_mean_field_race_solves_its_equation(changes):
    field = MeanField.of(settings(SMALL | changes))
    generator = np.random.default_rng(4)
    start = np.abs(generator.normal(size=(6, 2, 1))) * 0.06 + 0.02
    strength = generator.uniform(0.8, 1.25, size=(6, 2))
    found = run_mean_field(field, torch.tensor(start, dtype=torch.float32), torch.tensor(strength, dtype=torch.float32))
    h, q = field.nodes.double().numpy(), field.q

    def act(z):
        return np.minimum(z, 1) ** q / q + np.maximum(z - 1, 0)

    def wrong(x):
        return (field.classes - 1) / (field.classes - 1 + np.exp(field.rho * act(h * x).sum(axis=1)))

    def equation(s):
        return lambda _, x: s * (wrong(x)[:, None] * h * np.minimum(h * x, 1) ** (q - 1)).mean(axis=0)

    def over(_, x):
        return -np.log1p(-wrong(x)).mean() - field.tolerance

    over.terminal = True
    for race in range(6):
        run = solve_ivp(equation(strength[race]), (0, 1e9), start[race, :, 0], method="LSODA", rtol=1e-8, atol=1e-10, events=over)
        np.testing.assert_allclose(found[race, :, 0].numpy(), run.y[:, -1], rtol=0.06, atol=0.01)


@given(number=st.integers(0, 10_000), q=st.sampled_from([3, 4, 5]))
def test_the_mean_field_winner_is_the_largest_start_times_a_root_of_its_strength(number, q):
    generator = np.random.default_rng(number)
    start, s = np.abs(generator.normal(size=(3, 4))) * 0.02, generator.uniform(0.5, 2.0, size=3)
    advantage = np.log(start.max(axis=1)) + np.log(s) / (q - 2)
    if np.diff(np.sort(advantage)[-2:])[0] < 0.05:
        return
    nodes = torch.ones(1, 3)
    field = MeanField(q, 10.0, 10, 1, nodes, 0.05)
    end = run_mean_field(field, torch.tensor(start[None], dtype=torch.float32), torch.tensor(s[None], dtype=torch.float32))
    assert int(field.view_logits(end).argmax()) == advantage.argmax()


def test_mean_field_races_do_not_depend_on_each_other_on_order_or_on_scale():
    field = MeanField.of(settings(SMALL))
    start = 0.03 * torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(5))
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
    field = MeanField.of(settings(SMALL))
    even = torch.full((1, 2, 1), 0.05)
    ahead = torch.tensor([[[0.06], [0.05]]])
    ratio = [float(logits.min() / logits.max()) for logits in map(lambda x: field.view_logits(run_mean_field(field, x)), (even, ahead))]
    assert ratio[0] > 0.9
    assert ratio[1] < 0.01


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


def test_lotka_volterra_keeps_the_leads_and_its_conserved_quantity():
    start = torch.tensor([0.03, 0.05, 0.02], dtype=torch.float64)
    equal = lotka_volterra(start, torch.ones(3, dtype=torch.float64), 40.0)
    torch.testing.assert_close(equal / equal.sum(), start / start.sum(), rtol=1e-9, atol=0)
    assert float(equal.square().sum()) == pytest.approx(1, abs=1e-6)
    rate = torch.tensor([1.0, 1.1, 0.7], dtype=torch.float64)
    for time in (1.0, 3.0, 8.0):
        clock = (lotka_volterra(start, rate, time) / start).log() / rate
        torch.testing.assert_close(clock, clock[:1].expand(3), rtol=1e-7, atol=0)


@pytest.mark.parametrize("q", [3, 4, 5])
def test_the_power_form_conserves_differences_of_the_straight_coordinate_and_its_leader_takes_all(q):
    start = torch.tensor([0.05, 0.04], dtype=torch.float64)
    rate = torch.tensor([1.0, 1.2], dtype=torch.float64)
    end = power_race(start, rate, 3 * 0.05 ** -(q - 2), q)
    progress = (straight(end, q) - straight(start, q)) / rate
    assert float(progress[0]) == pytest.approx(float(progress[1]), rel=1e-4)
    advantage = start.log() + rate.log() / (q - 2)
    assert int(end.argmax()) == int(advantage.argmax())
    before, after = (float(s.max() / s.sum()) for s in (start, end))
    assert after > max(0.85, before)


def made(changes=None):
    """Measurements as the claim predicts them, but for `changes`."""
    rows = [("as set", 0.0)] + [(a, float(v)) for a, values in AXES.items() for v in values]
    rows += [("data.feature_noise", float(v)) for v in FEATURE_NOISE]
    rows = [row for row in rows for _ in range(6)]
    full = np.array([0.34 + 0.001 * (i % 3) for i in range(len(rows))])
    values = {"deviation": 2e-5, "same_winners": 1.0, "coverage_gap": 0.0, "growth_winners": 1.0, "raw_winners": 0.99}
    values |= {"gap": 0.0, "linear": 0.6, "power": 0.85} | (changes or {})
    close = ("root", "close")
    data = xr.Dataset({name: (close, np.full((2, 2), values[name])) for name in ("deviation", "same_winners", "coverage_gap")})
    data["trained"] = (close, np.full((2, 2), 0.2))
    data["axis"], data["value"] = ("network", [a for a, _ in rows]), ("network", [v for _, v in rows])
    data["at"] = ("network", [0, 0, 0, 1, 1, 1] * (len(rows) // 6))
    data["full"], data["projected"] = ("network", full), ("network", full)
    data["growth_coverage"] = ("network", full + values["gap"])
    for name in ("growth_winners", "raw_winners"):
        data[name] = ("network", np.full(len(rows), values[name]))
    for name in ("map_gap", "map_winners"):
        data[name] = (("amplitude", "init", "cell"), np.zeros((2, 2, 4)))
    network = np.stack([np.full((2, 3), 0.6), np.full((2, 3), 0.85)])
    for name in LEADERS:
        column = network if name in ("start", "network") else np.full((2, 2, 3), values[name])
        data[f"leader_{name}"] = (("q", "root", "seed"), column)
    return data.assign_coords(q=[2, 4], root=[0, 1])


def test_the_claim_is_judged_by_what_was_measured():
    assert {check.verdict for check in Dynamics().judge(made()).checks} == {"supported"}


@pytest.mark.parametrize(
    ("change", "refuted"),
    [
        ({"deviation": 2e-4}, "projected, largest difference"),
        ({"same_winners": 0.9}, "projected, classes with"),
        ({"coverage_gap": 0.1}, "projected, difference of coverage"),
        ({"growth_winners": 0.9}, "mean-field, winners, from the measured growth"),
        ({"raw_winners": 0.9}, "mean-field, winners, from the correlations alone"),
        ({"gap": -0.05}, "mean-field coverage less the networks', net.init"),
        ({"linear": 0.7}, "Lotka-Volterra"),
        ({"power": 0.7}, "power form"),
    ],
)
def test_each_prediction_is_refuted_by_its_own_measurement(change, refuted):
    found = {check.name: check.verdict for check in Dynamics().judge(made(change)).checks}
    wrong = [name for name, verdict in found.items() if verdict == "refuted"]
    assert any(name.startswith(refuted) for name in wrong)
    assert len(wrong) == (3 if "gap" in change else 1)


def test_the_claim_says_nothing_where_the_dynamics_do_not_hold():
    claim = Dynamics()
    assert claim.applies(preset()) is None
    for changes in ({"net.family": "mlp"}, {"data.layout": "flat"}, {"net.q": 2}, {"data.cosine_within": 0.1}):
        assert claim.applies(preset().replace(**changes)) is not None


def test_own_views_are_each_class_with_its_own():
    projection = projection_of()
    x = torch.arange(3 * 6 * 3 * 2, dtype=torch.float64).view(3, 6, 3, 2)
    found = own_views(projection, x)
    assert found.shape == (2, 3, 2, 3)
    assert found[1, 2, 0, 1] == x[1, 4, 2, 1]
    assert math.isfinite(float(found.sum()))


@pytest.mark.slow
def test_the_claim_at_smoke_scale():
    found = viewrace.reproduce(["dynamics"], scale="smoke")["dynamics"]
    verdicts = {check.name: check.verdict for check in found.checks}
    assert verdicts["projected, classes with the full network's winner"] != "refuted"
    assert found.checks[0].estimate < 1e-4
    assert found.measures["trained networks, largest difference from the exact flow"].value > 1e-3
