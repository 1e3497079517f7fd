"""Examples and their ground truth: rebuilt from it, counted against it, and bounded by the chances that were asked for."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from draws import DIGITS, FLAT, data, distribution
from viewrace.data import Distribution, Examples, check
from viewrace.errors import ViewraceError

LAYOUTS = [
    pytest.param({}, id="patches"),
    pytest.param({"patches_per_feature": 2}, id="two-patches-a-feature"),
    pytest.param(FLAT, id="flat"),
]
SOURCES = [pytest.param({}, id="features"), pytest.param(DIGITS, id="digits")]


def within_binomial(count: int, trials: int, chance: float) -> bool:
    """Five standard deviations: fails once in two million for a correct sampler."""
    return abs(count - trials * chance) <= 5 * (trials * chance * (1 - chance)) ** 0.5


def others(examples: Examples) -> torch.Tensor:
    """(example, class - 1, view): amplitudes of the classes that are not the label."""
    count, classes, views = examples.amplitude.shape
    return examples.amplitude[torch.arange(classes) != examples.labels[:, None]].view(count, classes - 1, views)


@pytest.mark.parametrize("spread", [1, 2])
@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_patches_are_rebuilt_from_their_ground_truth(spread, mu):
    drawn = distribution(patches_per_feature=spread, mu=mu, weak_amplitude=0.05, strengths=(1.0, 0.5, 2.0))
    for examples in (drawn.train(), drawn.test(), drawn.test_single()):
        dictionary = torch.cat([drawn.features.flatten(0, 1), torch.zeros(1, 14)])
        share = torch.cat([examples.amplitude.flatten(1) / spread, torch.zeros(len(examples), 1)], dim=1)
        rebuilt = share.gather(1, examples.patch_feature % 13)[:, :, None] * dictionary[examples.patch_feature]
        torch.testing.assert_close(examples.inputs, rebuilt, rtol=1e-6, atol=0)


def test_flat_inputs_are_rebuilt_from_their_ground_truth():
    drawn = distribution(FLAT, mu=0.3, strengths=(1.0, 0.5, 2.0))
    for examples in (drawn.train(), drawn.test(), drawn.test_single()):
        rebuilt = torch.zeros(len(examples), 14, dtype=torch.float64)
        for label in range(4):
            for view in range(3):
                rebuilt += examples.amplitude[:, label, view, None].double() * drawn.features[label, view].double()
        torch.testing.assert_close(examples.inputs[:, 0].double(), rebuilt, rtol=0, atol=1e-6)
        assert (examples.patch_feature == -1).all()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("spread", [1, 2])
def test_every_present_view_has_its_patches_and_no_absent_view_has_any(source, spread):
    examples = distribution(source, patches_per_feature=spread, patches=27, mu=0.5).train()
    held = torch.nn.functional.one_hot(examples.patch_feature + 1, 13)[:, :, 1:].sum(dim=1)
    assert torch.equal(held, spread * (examples.amplitude.flatten(1) > 0))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_amplitudes_are_what_the_inputs_sum_to(layout):
    drawn = distribution(layout, mu=0.5)
    examples = drawn.train()
    shown = torch.einsum("npd,kmd->nkm", examples.inputs.double(), drawn.features.double())
    torch.testing.assert_close(shown, examples.amplitude.double(), rtol=0, atol=1e-6)


STRENGTHS = (1.0, 0.5, 2.0)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_amplitudes_lie_in_the_intervals_asked_for(source, layout):
    faint = {"weak_amplitude": 0.05, "single_distractor_amplitude": (0.0, 0.09)}
    examples = distribution(source, layout, faint, mu=0.5, examples=300, strengths=STRENGTHS).train()
    own, distracting = examples.own_amplitude / torch.tensor(STRENGTHS), others(examples) / torch.tensor(STRENGTHS)

    def inside(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return (values > low - 1e-6) & (values < high + 1e-6)

    strong, absent = inside(own, 0.6, 1.5), own == 0
    assert (strong | absent)[~examples.single].all()
    assert (strong.sum(dim=1) == 1)[examples.single].all()
    assert (strong | inside(own, 0.05, 0.05))[examples.single].all()
    present = distracting[distracting > 0], (distracting > 0).nonzero()[:, 0]
    for single, low, high in ((False, 0.1, 0.4), (True, 0.0, 0.09)):
        values = present[0][examples.single[present[1]] == single]
        assert inside(values, low, high).all()
        assert values.max() - values.min() > 0.8 * (high - low)


@pytest.mark.parametrize("source", SOURCES)
def test_a_label_keeps_all_its_views_where_patches_are_few(source):
    examples = distribution(source, patches=6, distractors=1.3, examples=200).train()
    assert examples.dropped > 0
    assert (examples.views_shown() == 3).all()
    assert ((examples.patch_feature >= 0).sum(dim=1) <= 6).all()
    free = distribution(source, patches=12, distractors=1.3, examples=200).train()
    assert free.dropped == 0
    assert int((free.amplitude > 0).sum() - (examples.amplitude > 0).sum()) == examples.dropped


@pytest.mark.parametrize("source", SOURCES)
def test_a_view_may_be_in_any_patch(source):
    examples = distribution(source, examples=1200, patches=6, distractors=0.0).train()
    own = examples.labels * 3
    for view in range(3):
        places = (examples.patch_feature == (own + view)[:, None]).nonzero()[:, 1]
        assert all(within_binomial(count, 1200, 1 / 6) for count in torch.bincount(places, minlength=6).tolist())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_single_view_examples_show_one_view_each_view_as_often(layout):
    examples = distribution(layout, test_examples=1200).test_single()
    assert examples.single.all()
    assert (examples.views_shown() == 1).all()
    for count in torch.bincount(examples.own_amplitude.argmax(dim=1), minlength=3).tolist():
        assert within_binomial(count, 1200, 1 / 3)


@pytest.mark.parametrize("mu", [0.0, 0.1, 0.6, 1.0])
def test_a_fraction_mu_is_single_view(mu):
    drawn = distribution(mu=mu, examples=1000, test_examples=1000, strengths=STRENGTHS)
    for examples in (drawn.train(), drawn.test()):
        assert within_binomial(int(examples.single.sum()), 1000, mu)
        assert torch.equal(examples.views_shown() == 1, examples.single)
        assert torch.equal(examples.views_shown() == 3, ~examples.single)


def test_labels_are_balanced():
    counts = torch.bincount(distribution(examples=43).train().labels, minlength=4)
    assert sorted(counts.tolist()) == [10, 11, 11, 11]


@pytest.mark.parametrize("layout", [{}, FLAT], ids=["patches", "flat"])
@pytest.mark.parametrize("mode", ["class", "view"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.5, 4.0])
def test_distractors_come_at_the_rate_asked_for(layout, mode, rate):
    examples = distribution(layout, distractor_mode=mode, distractors=rate, examples=800).train()
    assert examples.dropped == 0
    present = others(examples) > 0
    if mode == "class":
        assert torch.equal(present.all(dim=2), present.any(dim=2))
        assert within_binomial(int(present.any(dim=2).sum()), 800 * 3, rate / 4)
    else:
        assert within_binomial(int(present.sum()), 800 * 9, rate / 4)
        together = (rate / 4) ** 3 + (1 - rate / 4) ** 3
        assert within_binomial(int((present.all(dim=2) == present.any(dim=2)).sum()), 800 * 3, together)


def test_one_view_alone_is_shown_in_three_of_seven_flat_examples_at_even_odds():
    examples = distribution(FLAT, examples=4000).train()
    shown = examples.views_shown()
    assert (shown >= 1).all()
    assert within_binomial(int((shown == 1).sum()), 4000, 3 / 7)
    assert within_binomial(int((shown == 3).sum()), 4000, 1 / 7)


def test_flat_views_are_as_frequent_as_their_chances_say_once_empty_draws_are_gone():
    chances = (0.2, 0.5, 0.9)
    examples = distribution(layout="flat", p=chances, examples=4000).train()
    some = 1 - 0.8 * 0.5 * 0.1
    for view, chance in enumerate(chances):
        assert within_binomial(int((examples.own_amplitude[:, view] > 0).sum()), 4000, chance / some)


def test_certain_flat_views_are_all_shown():
    assert (distribution(layout="flat", p=1.0).train().views_shown() == 3).all()


@given(within=st.floats(-0.9, 0.95), between=st.floats(-0.4, 0.6), classes=st.integers(2, 5), views=st.integers(1, 3))
def test_features_have_the_cosines_asked_for_or_are_refused_where_none_do(within, between, classes, views):
    # The eigenvalues of a Gram matrix of equal blocks, in closed form.
    block = 1 + (views - 1) * within - views * between
    smallest = min(block, block + classes * views * between, 1 - within if views > 1 else 1.0)
    assume(abs(smallest) > 1e-6)
    asked = data(classes=classes, views=views, dim=classes * views + 1, cosine_within=within, cosine_between=between)
    if smallest < 0:
        with pytest.raises(ViewraceError, match=f"no {classes * views} unit vectors have cosine_within"):
            Distribution(asked, root=0)
        return
    features = Distribution(asked, root=0).features.double()
    label = torch.arange(classes).repeat_interleave(views)
    expected = torch.where(label[:, None] == label, within, between).double().fill_diagonal_(1.0)
    flat = features.flatten(0, 1)
    torch.testing.assert_close(flat @ flat.T, expected, rtol=0, atol=1e-6)


def test_impossible_cosines_are_refused_in_one_line(refusal):
    text = refusal(Distribution, data(cosine_within=-0.9), 0)
    assert "cosine_within = -0.9 and cosine_between = 0" in text
    assert text.endswith("move them towards 0")


def same(first: Examples, second: Examples) -> bool:
    names = ("inputs", "labels", "single", "amplitude", "patch_feature")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("layout", [{}, FLAT], ids=["patches", "flat"])
def test_the_sets_of_examples_do_not_shift_one_another(source, layout):
    noisy = {"noise": 0.1, "feature_noise": 0.05, "mu": 0.3}
    one, other = distribution(source, layout, noisy), distribution(source, layout, noisy)
    last = other.test_single(), other.test(), other.train()
    assert all(same(a, b) for a, b in zip((one.train(), one.test(), one.test_single()), reversed(last), strict=True))
    assert same(one.train(), one.train())
    assert same(one.train(), distribution(source, layout, noisy, test_examples=7).train())
    assert same(one.test(), distribution(source, layout, noisy, examples=7).test())
    assert same(one.test_single(), distribution(source, layout, noisy, examples=7, mu=0.9).test_single())


@pytest.mark.parametrize("layout", [{}, FLAT], ids=["patches", "flat"])
def test_no_example_is_drawn_twice(layout):
    drawn = distribution(layout, noise=0.1), distribution(layout, noise=0.1, root=1)
    rows = torch.cat([item.inputs.flatten(1) for one in drawn for item in (one.train(), one.test(), one.test_single())])
    assert len(rows.unique(dim=0)) == len(rows)
    assert not torch.equal(drawn[0].features, drawn[1].features)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_shows_one_view_at_amplitude_one(layout):
    drawn = distribution(layout, noise=0.5, feature_noise=0.5, strengths=STRENGTHS)
    probes = drawn.probes()
    assert probes.shape[:3] == (4, 3, 1)
    torch.testing.assert_close(probes.sum(dim=3)[:, :, 0], drawn.features, rtol=0, atol=1e-7)
    assert (probes.norm(dim=-1).diff(dim=3).abs() < 1e-7).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_digit_probe_has_amplitude_one(layout):
    probes = distribution(DIGITS, layout, noise=0.5).probes()
    assert probes.shape[:3] == (4, 3, 30)
    torch.testing.assert_close(probes.norm(dim=-1).sum(dim=3), torch.ones(4, 3, 30), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", [{}, FLAT], ids=["patches", "flat"])
def test_noise_has_the_standard_deviation_asked_for_and_no_direction(layout):
    quiet, noisy = distribution(layout, examples=400), distribution(layout, examples=400, noise=0.2)
    noise = (noisy.train().inputs - quiet.train().inputs).double()
    assert abs(noise.mean()) < 5 * 0.2 / noise.numel() ** 0.5
    assert abs(noise.square().mean() / 0.04 - 1) < 5 * (2 / noise.numel()) ** 0.5


@pytest.mark.parametrize("layout", [{}, FLAT], ids=["patches", "flat"])
def test_feature_noise_gives_every_patch_a_little_of_every_feature(layout):
    quiet, noisy = distribution(layout), distribution(layout, feature_noise=0.3)
    added = (noisy.train().inputs - quiet.train().inputs).double()
    weights = added @ noisy.features.flatten(0, 1).double().T
    assert weights.min() > -1e-6
    assert weights.max() < 0.3 + 1e-6
    assert abs(weights.mean() - 0.15) < 5 * 0.3 / 12**0.5 / weights.numel() ** 0.5
    torch.testing.assert_close(weights @ noisy.features.flatten(0, 1).double(), added, rtol=0, atol=1e-6)


CLEAN = {"amplitude": (1.0, 1.0), "noise": 0.01, "test_examples": 144, "distractors": 1.0}


@pytest.mark.parametrize("layout", [{}, {"layout": "flat", "p": 1.0}], ids=["patches", "flat"])
def test_clean_data_meet_all_assumptions(layout):
    report = check(distribution(CLEAN, layout))
    assert report.probe_accuracy == (1.0, 1.0, 1.0)
    assert report.largest_cosine < 1e-6
    assert report.norm_ratio == pytest.approx(1.0, abs=1e-6)
    assert report.views_shown == pytest.approx((0.0, 0.0, 1.0))
    assert report.single_view_fraction == 0
    assert report.dropped == 0


def test_assumptions_that_fail_are_reported():
    assert check(distribution(CLEAN, strengths=(1.0, 2.5, 0.5))).norm_ratio == pytest.approx(5.0, rel=1e-5)
    assert check(distribution(CLEAN, cosine_within=0.3, cosine_between=-0.05)).largest_cosine == pytest.approx(0.3, abs=1e-6)
    assert check(distribution(CLEAN, cosine_between=-0.06)).largest_cosine == pytest.approx(0.06, abs=1e-6)
    assert max(check(distribution(CLEAN, noise=1.0)).probe_accuracy) < 0.9
    crowded = distribution(CLEAN, patches=6)
    assert check(crowded).dropped == pytest.approx(crowded.train().dropped / 40)
    assert check(crowded).dropped > 0


def test_the_number_of_views_shown_is_reported():
    patches = check(distribution(CLEAN, mu=0.5, weak_amplitude=0.1, examples=200))
    singles = float(distribution(CLEAN, mu=0.5, weak_amplitude=0.1, examples=200).train().single.double().mean())
    assert patches.views_shown == pytest.approx((singles, 0.0, 1 - singles))
    flat = check(distribution(CLEAN, FLAT, examples=2000))
    assert sum(flat.views_shown) == pytest.approx(1.0)
    assert flat.single_view_fraction == flat.views_shown[0]
    assert within_binomial(round(2000 * flat.single_view_fraction), 2000, 3 / 7)
