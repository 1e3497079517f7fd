"""The experiment that showed no race: its data, its preset, and each switch on the way from there to 1/M."""

import pytest
import torch

from viewrace.config import Train, settings
from viewrace.data import Distribution, check
from viewrace.nets import make_family
from viewrace.presets import NAMED, blocker_001, named
from viewrace.streams import Stream, torch_generator
from viewrace.train import HardLoss, Outcome, train

SLOTS = {"data.slots": True, "data.layout": "flat", "data.dim": 36, "data.distractors": 0.0}


@pytest.mark.parametrize("views", [1, 2, 3])
def test_each_view_lives_in_its_own_slot_of_orthonormal_features(views):
    config = settings(SLOTS | {"data.views": views, "data.dim": 12 * views}).data
    features = Distribution(config, root=0).features.view(10, views, views, 12).double()
    for view in range(views):
        elsewhere = [slot for slot in range(views) if slot != view]
        assert (features[:, view, elsewhere] == 0).all()
        mine = features[:, view, view]
        torch.testing.assert_close(mine @ mine.T, torch.eye(10, dtype=torch.float64), atol=1e-6, rtol=0)


def test_slots_differ_between_root_seeds_and_hold_in_both_layouts():
    flat = settings(SLOTS).data
    first, second = (Distribution(flat, root).features for root in (0, 1))
    assert not torch.allclose(first, second, atol=0.1)
    patches = settings(SLOTS | {"data.layout": "patches"}).data
    assert torch.equal(Distribution(patches, 0).features, first)


def test_a_flat_example_shows_its_active_views_in_their_slots():
    config = settings(SLOTS | {"data.p": 0.5, "data.noise": 0.0, "data.feature_noise": 0.0}).data
    examples = Distribution(config, root=0).train()
    norms = examples.inputs[:, 0].view(-1, 3, 12).norm(dim=2)
    torch.testing.assert_close(norms, examples.own_amplitude, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.dim": 35}, "data.dim must be a multiple of views = 3 with slots, received 35: set data.dim=36"),
        ({"data.dim": 27}, "data.dim must be at least classes x views = 30"),
        ({"data.cosine_within": 0.1}, "must be 0 with slots"),
        ({"data.source": "digits", "data.dim": 64}, "slots must be false with source = digits"),
    ],
)
def test_slots_that_cannot_be_are_refused(refusal, changes, words):
    assert words in refusal(settings, SLOTS | changes)


def test_the_preset_is_what_was_reported():
    chosen = blocker_001()
    data, net, how = chosen.data, chosen.net, chosen.train
    assert (data.classes, data.views, data.dim // data.views, data.p, data.noise, data.examples) == (10, 3, 50, 0.5, 0.1, 10_000)
    assert data.slots
    assert (data.layout, data.amplitude, data.distractors, data.feature_noise) == ("flat", (1.0, 1.0), 0.0, 0.0)
    assert (net.family, net.hidden, net.q, net.init) == ("mlp", (200,), 1, 1.0)
    assert (how.method, how.rate, how.momentum) == ("sgd", 0.01, 0.9)
    assert (how.steps - 1) * how.batch == 100 * data.examples
    assert how.tolerance is None


def test_three_in_seven_of_its_examples_show_a_single_view():
    count = blocker_001().data.examples
    found = check(Distribution(blocker_001().data, root=0))
    for shown, chance in zip(found.views_shown, (3 / 7, 3 / 7, 1 / 7), strict=True):
        assert abs(shown - chance) < 4 * (chance * (1 - chance) / count) ** 0.5
    assert found.largest_cosine < 1e-6


@pytest.mark.parametrize("method", ["sgd", "gd", "flow"])
def test_without_a_tolerance_a_seed_trains_for_its_steps_and_is_done(tiny, tiny_examples, method):
    family = make_family(tiny.net.model_copy(update={"q": 1}), tiny.data)
    config = Train(method=method, steps=151, tolerance=None, batch=10)
    start = family.init([torch_generator(0, Stream.INIT, 0, index) for index in range(2)])
    loss = HardLoss(tiny_examples.labels)
    trained = train(family, start, tiny_examples.inputs, loss, config)
    assert (trained.evaluations > 151 - 2).all()
    assert (trained.outcome == int(Outcome.CONVERGED)).all()
    sooner = train(
        family, start, tiny_examples.inputs, HardLoss(tiny_examples.labels), config.model_copy(update={"tolerance": 0.5})
    )
    assert (sooner.evaluations < trained.evaluations).all()


def test_without_a_tolerance_a_seed_that_never_moved_is_stuck(tiny, tiny_examples):
    family = make_family(tiny.net, tiny.data)
    config = Train(method="gd", steps=5, tolerance=None, rate=1e-6)
    start = [torch_generator(0, Stream.INIT, 0, 0)]
    trained = train(family, start, tiny_examples.inputs, HardLoss(tiny_examples.labels), config)
    assert trained.outcome.tolist() == [int(Outcome.STUCK_AT_INIT)]


def test_a_preset_is_found_by_name_and_a_file_of_that_name_comes_first(tmp_path, monkeypatch, refusal):
    monkeypatch.chdir(tmp_path)
    assert named("blocker-001") == NAMED["blocker-001"]() == blocker_001()
    assert "or the name of a preset: blocker-001" in refusal(named, "blocker-002")
    (tmp_path / "blocker-001").write_text("net: {q: 3}")
    assert named("blocker-001").net.q == 3
