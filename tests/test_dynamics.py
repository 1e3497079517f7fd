"""Three depths of the dynamics: each against the one below, closed forms, conservation, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewrace.claims.dynamics_depths import ExactDistribution, closely, exact, own_views
from viewrace.claims.lab import Bench, Role
from viewrace.config import settings
from viewrace.presets import preset
from viewrace.race import Projection
from viewrace.race.coordinate import correlation, straight
from viewrace.race.projected import Race
from viewrace.race.trajectory import Film, run

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


def bench_of(changes=None):
    return Bench(settings(SMALL | (changes or {})), 0)


def projected(bench, count):
    """The projection of a bench, and the correlations of its first networks at the init."""
    projection = Projection(bench.settings, bench.distribution)
    weight = bench.family().init(bench.generators(Role.MEMBER, 0, count))["weight"]
    return projection, projection.correlations(weight)


def run_of(changes=None, count=1, film=None, **options):
    bench = bench_of(changes)
    projection, start = projected(bench, count)
    return projection, start, run(projection, start, bench.settings.train, film=film, **options)


def by_autograd(bench, x):
    """dx/dt (neuron, feature, class, seed) of the real network's cross-entropy in float64, from weights that have correlations
    x, and the loss (seed,). The features are orthonormal to float32 alone, so forces are taken in their dual frame."""
    features, examples = bench.distribution.features.flatten(0, 1).double(), bench.examples
    family, data, rho = bench.family(), bench.settings.data, bench.settings.net.rho
    dual = torch.linalg.inv(features @ features.T) @ features
    weight = (x.permute(3, 2, 0, 1) @ dual * rho).requires_grad_()
    inputs = torch.zeros(len(examples), data.patches, data.dim, dtype=torch.float64)
    held = examples.patch_feature >= 0
    shown = examples.amplitude.flatten(1).double().gather(1, examples.patch_feature.clamp(min=0)) / data.patches_per_feature
    inputs[held] = shown[held][:, None] * features[examples.patch_feature[held]]
    losses = [torch.nn.functional.cross_entropy(family.apply({"weight": w}, inputs), examples.labels) for w in weight.unbind()]
    (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), weight)
    return -(gradient @ dual.T / rho).permute(2, 3, 1, 0), torch.stack(losses).detach()


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
def test_the_projected_slope_is_the_gradient_of_the_real_network(q, scale, changes):
    bench = bench_of(changes | {"net.q": q})
    projection, start = projected(bench, 2)
    race = Race(projection, start, torch.float64)
    chance = torch.Generator().manual_seed(0)
    y = race.origin()
    progress, own = race.split(y)
    progress.copy_({2: 1, 3: 5, 4: 40, 5: 300}[q] * torch.rand(progress.shape, generator=chance, dtype=torch.float64))
    alive = own > -torch.inf
    height = torch.where(alive, scale * torch.rand(own.shape, generator=chance, dtype=torch.float64), 0.0)
    own.copy_(straight(height, q))
    race.watch(height)
    shared, each = race.split(race.slope(y))
    x = race.correlations(y)
    expected, loss = by_autograd(bench, x)
    bend = x.clamp(min=0) ** (q - 1)
    found = shared * bend
    index = torch.arange(len(projection.features))
    label, view = index // projection.views, index % projection.views
    found[:, index, label] = each[:, view, label] * bend[:, index, label]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(-race.likelihood().log().mean(dim=0), loss, rtol=1e-6, atol=1e-9)
    assert (float(height.max() * projection.share.max()) > 1) == (scale > 1)


def test_lifted_weights_have_the_correlations_and_the_rest_of_the_start():
    projection, _ = projected(bench_of(), 1)
    weight = torch.randn(2, 3, 3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.rand(3, 6, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    lifted = projection.lift(x, weight)
    torch.testing.assert_close(projection.correlations(lifted), x, rtol=0, atol=1e-6)
    torch.testing.assert_close(projection.lift(projection.correlations(weight), weight), weight)
    outside = (lifted - weight) - (lifted - weight) @ projection.features.T @ projection.features
    assert outside.abs().max() < 1e-6


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
    film = Film()
    projection, _, _ = run_of({"net.q": q, "net.width": 6}, film=film)
    x = torch.stack(film.correlation)[:, :, torch.arange(6), torch.arange(6) // 2]
    x = x.gather(1, x[:1].topk(2, dim=1).indices.expand(len(x), -1, -1))
    below = (x * projection.share.amax()).amax(dim=1) < 1
    w = straight(x, q)
    apart = w[:, 0] - w[:, 1]
    known = below & torch.isfinite(apart) & torch.isfinite(apart[0])
    assert known[1:].sum() > 20
    drift = ((apart - apart[0]) / w[0].abs().amax(dim=0))[known]
    assert drift.abs().max() < 1e-6
    assert x[:, 0][below].max() > 0.3


def test_no_neuron_turns_its_sign_and_those_against_a_view_never_move():
    film = Film()
    _, start, _ = run_of(film=film)
    x = torch.stack(film.correlation)
    dead = start[..., 0] <= 0
    torch.testing.assert_close(x[:, dead], start[..., 0][dead].expand(len(x), -1))
    assert (x[:, ~dead] > 0).all()


def test_a_seed_does_not_depend_on_those_beside_it_and_a_finer_error_changes_little():
    projection, start, together = run_of(count=2)
    train = bench_of().settings.train
    assert together.done.all()
    assert (together.loss <= train.tolerance).all()
    timed = train.model_copy(update={"time": 0.8 * float(together.time.min())})
    runs = [run(projection, start, timed), run(projection, start[..., 1:], timed)]
    fine = run(projection, start, timed, error=1e-7, dtype=torch.float64)
    torch.testing.assert_close(runs[0].correlation[..., 1:], runs[1].correlation, rtol=1e-3, atol=1e-4)
    assert (runs[0].correlation - fine.correlation).abs().max() < 1e-4 * fine.correlation.amax()
    assert (fine.evaluations > runs[0].evaluations).all()


def test_a_run_ends_at_its_time_and_at_its_evaluations():
    projection, start, whole = run_of(count=2)
    train = bench_of().settings.train
    half = float(whole.time.min()) / 2
    timed = run(projection, start, train.model_copy(update={"time": half}))
    torch.testing.assert_close(timed.time, torch.full((2,), half, dtype=torch.float64))
    assert timed.done.all()
    short = run(projection, start, train.model_copy(update={"steps": 13}))
    assert not short.done.any()
    assert short.evaluations.tolist() == [13, 13]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.noise": 0.1}, "data.noise must be 0, received 0.1"),
        ({"data.feature_noise": 0.05}, "data.feature_noise must be 0, received 0.05"),
        ({"data.cosine_within": 0.2}, "data.cosine_within must be 0, received 0.2"),
        ({"data.layout": "flat"}, "data.layout must be patches, received flat"),
        ({"net.q": 1}, "net.q must be at least 2, received 1"),
        ({"train.loss": "mse"}, "train.loss must be ce, received mse"),
        ({"train.method": "sgd"}, "train.method must be flow, received sgd"),
        ({"train.entropy": 0.1}, "train.entropy must be 0, received 0.1"),
    ],
)
def test_what_does_not_live_in_the_span_is_refused(refusal, changes, words):
    text = refusal(projected, bench_of(changes), 1)
    assert words in text
    assert "train the full network" in text


def test_what_starts_or_ends_beyond_the_polynomial_part_across_classes_is_refused(refusal):
    assert "across classes must stay on the polynomial part" in refusal(run_of, {"net.init": 1.0})
    projection, start = projected(bench_of(), 1)
    x = start.clone()
    x[:, 0, 0] = 5.0
    projection.check(x)
    x[1, 0, 2] = 1.01 / float(projection.share[:, 0].max())
    assert "received 1" in refusal(projection.check, x)


@pytest.mark.parametrize("changes", [{}, {"data.patches_per_feature": 3, "data.patches": 15, "data.mu": 0.4}])
def test_exact_data_are_those_drawn_but_for_the_rounding_of_float32(changes):
    bench = bench_of(changes)
    data, drawn = ExactDistribution(bench.settings.data, 0), bench.examples
    found = data.train()
    for exactly, rounded in ((data.features, bench.distribution.features), (found.inputs, drawn.inputs)):
        assert not torch.equal(exactly, rounded.double())
        torch.testing.assert_close(exactly, rounded.double(), rtol=0, atol=3e-7)
    torch.testing.assert_close(found.amplitude, drawn.amplitude.double(), rtol=0, atol=0)
    for name in ("labels", "single", "patch_feature"):
        assert torch.equal(getattr(found, name), getattr(drawn, name))


def test_exact_features_are_the_orthonormal_frame_nearest_to_those_drawn():
    bench = bench_of()
    features = ExactDistribution(bench.settings.data, 0).features.flatten(0, 1)
    one = torch.eye(len(features), dtype=torch.float64)
    torch.testing.assert_close(features @ features.T, one, rtol=0, atol=1e-14)
    turn = bench.distribution.features.flatten(0, 1).double() @ features.T
    torch.testing.assert_close(turn, turn.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(turn, one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"data.patches_per_feature": 3, "data.patches": 15}])
def test_exact_patches_are_the_projection_s_amplitudes_times_its_features(changes):
    bench = bench_of(changes)
    data = ExactDistribution(bench.settings.data, 0)
    projection, found = Projection(bench.settings, data), data.train()
    along = found.inputs @ projection.features.T
    assert (found.inputs - along @ projection.features).abs().max() < 1e-14
    held = torch.nn.functional.one_hot(found.patch_feature + 1, len(projection.features) + 1)[..., 1:]
    torch.testing.assert_close(along, held * projection.share[:, None], rtol=0, atol=1e-14)


@pytest.mark.slow
def test_projected_dynamics_are_the_full_ones_to_what_the_float32_of_the_data_leaves():
    bench = bench_of()
    weight = bench.family().init(bench.generators(Role.MEMBER, 0, 1))["weight"]
    apart = []
    for data in (ExactDistribution(bench.settings.data, 0), bench.distribution):
        projection, film = Projection(bench.settings, data), Film()
        run(projection, projection.correlations(weight), bench.settings.train, film=film, error=1e-8, dtype=torch.float64)
        close = closely(bench, weight, np.asarray(film.time), projection, data.train().inputs.double())
        apart.append(float((torch.stack(film.correlation) - close).abs().amax() / close.amax()))
    assert apart[0] < 2e-6
    assert apart[1] > 2e-5


@pytest.mark.slow
def test_a_whole_run_is_that_of_the_full_network_integrated_closely():
    chosen = preset(classes=3).replace(**{"data.noise": 0.0, "data.feature_noise": 0.0})
    bench = Bench(chosen, 0)
    found = exact(bench, 0)
    assert found["deviation"] < 1e-4
    assert found["trained"] > 10 * found["deviation"]
    assert found["full"].max() > 1
    data = ExactDistribution(chosen.data, 0)
    projection, weight = Projection(chosen, data), bench.family().init(bench.generators(Role.MEMBER, 0, 1))["weight"]
    start = own_views(projection, projection.correlations(weight))[0].amax(dim=2)
    for depth in ("full", "projected"):
        torch.testing.assert_close(found[depth][0], start.numpy(), rtol=0, atol=1e-12)


def test_own_views_are_each_class_with_its_own():
    projection, _ = projected(bench_of(), 1)
    x = torch.arange(3 * 6 * 3 * 2, dtype=torch.float64).view(3, 6, 3, 2)
    found = own_views(projection, x)
    assert found.shape == (2, 3, 2, 3)
    assert found[1, 2, 0, 1] == x[1, 4, 2, 1]
