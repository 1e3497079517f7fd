"""The growth of views split in two, films of training, and what becomes of views that have lost."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import helpers
from viewrace.claims.external_signal import ExternalSignal
from viewrace.claims.lost_views import TAKEN, drives, exponent, least_drive, lost, strongest, taken
from viewrace.config import Train, settings
from viewrace.data import Distribution
from viewrace.nets import make_family
from viewrace.presets import preset
from viewrace.race import gradient_split
from viewrace.race.split import shown_power
from viewrace.report.figures import figures_of
from viewrace.report.style import svg
from viewrace.train import Film, HardLoss, SoftLoss, train

CLEAN = {
    "data.classes": 3,
    "data.views": 2,
    "data.dim": 8,
    "data.patches": 5,
    "data.examples": 30,
    "data.distractors": 1.0,
    "data.noise": 0.0,
    "data.feature_noise": 0.0,
    "net.width": 4,
}


def begin(changes, seeds, count=3):
    return helpers.begin(CLEAN | changes, seeds, count)


def teacher(examples, seeds=1):
    shape = (seeds, len(examples), 3)
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("rows", [1, 3], ids=["one teacher", "a teacher for each"])
def test_the_split_sums_to_the_gradient_along_the_views(q, rows, seeds):
    family, params, examples, features = begin({"net.q": q, "net.init": 0.5, "data.noise": 0.1}, seeds)
    soft, tau = teacher(examples, rows), 2.0
    found = gradient_split(family, params, examples, features, SoftLoss(examples.labels, soft, tau))
    weight = params["weight"].clone().requires_grad_()
    logits = torch.func.vmap(lambda w: family.apply({"weight": w}, examples.inputs.double()))(weight)
    target = (soft / tau).softmax(-1).expand_as(logits)
    loss = tau**2 * torch.nn.functional.kl_div((logits / tau).log_softmax(-1), target, reduction="none").sum(-1).mean(1).sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    expected = -torch.einsum("skmd,kld->skml", gradient, features.double())
    torch.testing.assert_close(found.growth, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.strength, torch.einsum("skmd,kld->skml", params["weight"], features.double()))


def test_the_self_reinforcing_part_is_that_of_hard_labels_and_hard_labels_have_no_other(seeds):
    family, params, examples, features = begin({"net.init": 0.5}, seeds)
    soft = gradient_split(family, params, examples, features, SoftLoss(examples.labels, teacher(examples)))
    hard = gradient_split(family, params, examples, features, HardLoss(examples.labels))
    torch.testing.assert_close(soft.self_reinforcing, hard.self_reinforcing)
    torch.testing.assert_close(soft.drive_self, hard.drive_self)
    assert (hard.external == 0).all()
    assert (hard.drive_external == 0).all()
    assert soft.external.abs().max() > 1e-6


@pytest.mark.parametrize("q", [2, 3, 4])
@pytest.mark.parametrize("spread", [1, 2], ids=["one patch", "two patches"])
def test_growth_is_the_drive_times_the_power_of_the_strength_on_the_polynomial_part(q, spread, seeds):
    changes = {"net.q": q, "data.patches_per_feature": spread, "data.patches": 10, "net.init": 0.05}
    family, params, examples, features = begin(changes, seeds)
    assert float((params["weight"] @ features.flatten(0, 1).double().T).abs().max()) * 1.5 < family.rho
    found = gradient_split(family, params, examples, features, SoftLoss(examples.labels, teacher(examples)))
    pace = (found.strength.clamp(min=0) / family.rho) ** (q - 1)
    leak = 1e-6 * float(found.growth.abs().max())  # features are orthogonal to the rounding of float32
    torch.testing.assert_close(found.self_reinforcing, found.drive_self[:, :, None] * pace, rtol=1e-5, atol=leak)
    torch.testing.assert_close(found.external, found.drive_external[:, :, None] * pace, rtol=1e-5, atol=leak)
    distracting = gradient_split(family, params, examples, features, HardLoss(examples.labels)).drive_distractors
    # hard labels push a class down wherever its views distract; a view that never does has nothing
    assert (distracting <= 0).all()
    assert (distracting < 0).any()


def test_a_neuron_beyond_the_polynomial_part_does_not_follow_the_power(seeds):
    family, params, examples, features = begin({"net.q": 4, "net.init": 3.0}, seeds)
    found = gradient_split(family, params, examples, features, HardLoss(examples.labels))
    pace = (found.strength.clamp(min=0) / family.rho) ** 3
    assert not torch.allclose(found.growth, found.drive[:, :, None] * pace, rtol=0.1)


def test_an_amplitude_is_split_evenly_over_the_patches_of_its_view():
    examples = Distribution(settings(CLEAN | {"data.patches_per_feature": 2, "data.patches": 10}).data, root=0).train()
    torch.testing.assert_close(shown_power(examples, 3), 2 * (examples.amplitude / 2) ** 3)


def test_the_split_is_refused_where_a_neuron_has_no_correlation_with_a_view(seeds, refusal):
    for changes, words in (
        ({"net.family": "mlp"}, "set net.family=patch"),
        ({"data.layout": "flat"}, "received data.layout = flat"),
    ):
        chosen = settings(CLEAN | changes)
        distribution = Distribution(chosen.data, root=0)
        family, examples = make_family(chosen.net, chosen.data), distribution.train()
        params = family.init(seeds(1))
        assert words in refusal(gradient_split, family, params, examples, distribution.features, HardLoss(examples.labels))


def trained(seeds, film=None, **changes):
    family, params, examples, _ = begin({}, seeds)
    config = Train(precision="float64", **({"steps": 400, "tolerance": 1e-3} | changes))
    return train(family, params, examples.inputs, HardLoss(examples.labels), config, film=film)


def test_a_filmed_run_ends_where_the_unfilmed_one_does(seeds):
    film = Film(10.0, 1e9, 12)
    filmed, plain = trained(seeds, film), trained(seeds)
    assert torch.equal(filmed.params["weight"], plain.params["weight"])
    assert torch.equal(filmed.time, plain.time)
    assert torch.equal(film.weights["weight"][-1], plain.params["weight"])
    assert torch.equal(film.time[-1], plain.time)


def test_a_film_has_the_init_and_the_first_step_at_or_after_each_moment(seeds):
    film = Film(10.0, 1000.0, 5)
    end = trained(seeds, film)
    assert film.time.shape == (6, 3)
    assert torch.equal(film.weights["weight"][0], begin({}, seeds)[1]["weight"])
    assert (film.time[0] == 0).all()
    moments = torch.logspace(1, 3, 5, dtype=torch.float64)
    assert (film.time[1:] >= torch.minimum(moments[:, None] * (1 - 1e-12), end.time)).all()
    assert (film.time.diff(dim=0) >= 0).all()
    # stopped at a frame's own time, the same steps lead to the same weights: no frame is late by a step
    for frame in range(2, 6):
        again = trained(seeds, time=float(film.time[frame, 0]))
        assert float(again.time[0]) == pytest.approx(float(film.time[frame, 0]), rel=1e-9)
        torch.testing.assert_close(again.params["weight"][0], film.weights["weight"][frame, 0], rtol=1e-6, atol=1e-9)


def test_films_that_cannot_be_are_refused(seeds, refusal):
    for first, last, frames in ((0.0, 1.0, 5), (2.0, 1.0, 5), (1.0, 2.0, 1)):
        assert "0 < first < last and 2 frames or more" in refusal(Film, first, last, frames)
    assert "received train.method = gd" in refusal(trained, seeds, Film(1.0, 2.0, 2), method="gd")


@given(power=st.floats(-1, 5), number=st.integers(0, 1000))
def test_the_exponent_recovers_a_planted_power_law(power, number):
    generator = np.random.default_rng(number)
    a = generator.uniform(0.01, 2.0, size=(4, 5))
    growth = 0.3 * a**power
    growth[a < 0.1] = 7.0  # outside the range that is fitted
    growth[0, 0] = -1.0  # without a logarithm
    a[1, 1], growth[1, 1] = np.nan, np.nan
    assert exponent(a, growth, 0.1, 1.9) == pytest.approx(power, abs=1e-6)


def test_fewer_than_three_points_have_no_exponent():
    assert np.isnan(exponent(np.array([0.5, 0.6, 5.0]), np.ones(3), 0.1, 1.0))


def made() -> xr.Dataset:
    """One network, five frames, three classes of two views. Class 0 is taken in frame 2, its view 1 loses and is learned in
    frame 4; class 1 is taken in frame 3 with both views learned; class 2 is never taken."""
    own = np.ones((5, 1, 3, 2))
    own[2:, 0, 0], own[3:, 0, 1] = TAKEN / 2, TAKEN / 2
    external = np.zeros_like(own)
    external[:, 0, 0, 1] = [1.0, 0.8, 0.35, 0.1, 9.0]
    logit = np.ones_like(own)
    logit[:, 0, 0, 0] = 5.0
    learned = np.zeros(own.shape, dtype=bool)
    learned[1:, 0, 0, 0] = learned[2:, 0, 1] = learned[4:, 0, 0, 1] = True
    dims = ("frame", "seed", "label", "view")
    columns = {"drive_self": own, "drive_external": external, "logit": logit, "learned": learned}
    return xr.Dataset({name: (dims, values) for name, values in columns.items()})


def test_a_class_is_taken_when_the_labels_drive_is_down_to_a_fraction():
    np.testing.assert_array_equal(taken(made()).values, [[2, 3, -1]])


def test_views_that_have_lost_and_that_have_won():
    np.testing.assert_array_equal(lost(made()).values[0], [[False, True], [False, False], [False, False]])
    np.testing.assert_array_equal(strongest(made()).values[0], [[True, False], [True, False], [False, False]])


def test_the_least_drive_is_looked_for_from_the_taking_to_the_learning():
    found = least_drive(made())
    assert found["least"].item() == pytest.approx((0.1 + TAKEN / 2) / 2)  # frame 4 is after the learning, and not looked at
    assert found["at_taken"].item() == pytest.approx((0.35 + TAKEN / 2) / 2)
    assert found["learned"].item() == 1.0
    short = least_drive(made().isel(frame=slice(0, 4)))
    assert short["learned"].item() == 0.0


def test_a_network_in_which_no_view_has_lost_says_nothing():
    data = made()
    data["learned"] = xr.ones_like(data["learned"])
    assert np.isnan(least_drive(data)["least"]).all()


def test_drives_are_over_the_whole_drive_at_the_init():
    parts = drives(made())
    np.testing.assert_allclose(parts["external"].sel(group="lost").values[:, 0], np.array([1.0, 0.8, 0.35, 0.1, 9.0]) / 2)
    np.testing.assert_allclose(
        parts["self"].sel(group="lost").values[:, 0], np.array([1, 1, TAKEN / 2, TAKEN / 2, TAKEN / 2]) / 2
    )
    np.testing.assert_allclose(parts["self"].sel(group="won").values[0], 1.0)


def filmed(exponents: dict[int, float]) -> xr.Dataset:
    """What the claim measures, made up: two root seeds of two networks, under hard and soft labels."""
    hard, soft = made(), made()
    hard["drive_external"] = 0 * hard["drive_external"]
    hard["learned"] = hard["learned"] & False
    hard["drive_self"] = hard["drive_self"].where(xr.DataArray(np.arange(5) < 2, dims="frame"), 0.001)
    data = xr.concat([hard, soft], dim="taught").assign_coords(taught=["hard", "soft"])
    data = xr.concat([data, data], dim="seed").expand_dims(root=[0, 1])
    data = data.assign_coords(power=sorted(exponents))
    table = np.broadcast_to(np.array([exponents[q] for q in sorted(exponents)])[None, :, None], (2, len(exponents), 2))
    data["exponent"] = (("root", "power", "seed"), table)
    data["time"] = (("root", "taught", "frame", "seed"), np.ones((2, 2, 5, 2)))
    for name in ("strength", "growth"):
        data[name] = (("root", "seed", "label", "neuron", "view"), np.ones((2, 2, 3, 4, 2)) - (np.arange(4) == 0)[:, None])
    data["drive_distractors"] = 0 * data["drive_self"]
    return data.assign_attrs(q=4, rho=10.0, init=0.01)


@pytest.mark.parametrize(
    ("exponents", "literal", "by_gradient"),
    [
        ({1: 0.0, 2: 1.0, 3: 2.0, 4: 3.0}, "refuted", "supported"),
        ({1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}, "supported", "refuted"),
        ({1: 0.0, 2: 1.0, 3: 2.0, 4: 1.5}, "refuted", "refuted"),
    ],
)
def test_the_claim_is_judged_by_the_exponent_that_was_measured(exponents, literal, by_gradient):
    verdict = ExternalSignal().judge(filmed(exponents))
    found = {check.name: check.verdict for check in verdict.checks}
    assert found["literal: exponent of the teacher's part in the strength, q = 4"] == literal
    assert found["by the gradient: exponent of the teacher's part in the strength, q = 4"] == by_gradient
    assert found["hard labels: least drive of a lost view, over its start"] == "supported"
    assert found["soft labels: least drive of a lost view, over its start"] == "supported"
    assert found["soft labels: lost views learned in the end"] == "supported"
    assert verdict.measures["lost views learned in the end, hard labels"].value == 0


def test_a_figure_is_drawn_from_the_data_and_the_verdict():
    data = filmed({1: 0.0, 2: 1.0, 3: 2.0, 4: 3.0})
    (made_figure,) = figures_of(data, ExternalSignal().judge(data).to_json()).values()
    titles = [ax.get_title(loc="left") for ax in made_figure.axes]
    assert titles[:3] == ["Hard labels", "Soft labels: views that have lost", "Soft labels: views that have won"]
    assert "<svg" in svg(made_figure)


def test_the_claim_says_nothing_where_no_view_loses_or_none_has_a_strength():
    claim = ExternalSignal()
    assert claim.applies(preset()) is None
    for change in ({"net.q": 2}, {"net.family": "mlp"}, {"data.layout": "flat"}, {"train.method": "gd"}):
        assert claim.applies(preset().replace(**change)) is not None
    assert claim.applies(preset(source="digits")) is not None
