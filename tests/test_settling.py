"""The dynamics behind a phase diagram: settling to the stopping rule, and where projected networks stand for full ones."""

import pytest
import torch

from viewrace.claims.lab import Bench, Role
from viewrace.config import settings
from viewrace.presets import preset
from viewrace.race.projected import Projection
from viewrace.race.stiff import settle
from viewrace.race.trajectory import run
from viewrace.study.planes import find_plane
from viewrace.study.point import FULL, PROJECTED, measure_point

EASY = {
    "data.classes": 3,
    "data.examples": 45,
    "data.test_examples": 10,
    "data.noise": 0.0,
    "data.feature_noise": 0.0,
    "net.width": 2,
    "train.steps": 4000,
}


def begin(changes, count=4):
    bench = Bench(settings(EASY | changes, base=preset(2, 3)), 0)
    weight = bench.family().init(bench.generators(Role.MEMBER, 0, count))["weight"]
    return bench, weight, Projection(bench.settings, bench.distribution)


@pytest.mark.parametrize(
    ("changes", "time"),
    [
        pytest.param({}, 3e4, marks=pytest.mark.slow),
        pytest.param({"data.p": 0.7}, 3e4, marks=pytest.mark.slow),
        ({"net.q": 3}, 6e3),
        ({"net.q": 2}, 300.0),
    ],
    ids=str,
)
def test_settling_follows_the_flow_that_the_explicit_method_does(changes, time):
    bench, weight, projection = begin(changes | {"train.tolerance": 1e-9})
    config, start = bench.settings.train.model_copy(update={"time": time}), projection.correlations(weight)
    exact = run(projection, start, config, dtype=torch.float64)
    raced = run(projection, start, config.model_copy(update={"steps": 60}))
    assert (raced.time < time).all()
    ended = settle(projection, raced, config)
    assert ended.done.all()
    torch.testing.assert_close(ended.time, exact.time, rtol=1e-6, atol=0)
    assert (raced.correlation - exact.correlation).abs().max() > 0.2
    torch.testing.assert_close(ended.correlation, exact.correlation, rtol=0, atol=0.01)
    torch.testing.assert_close(ended.loss, exact.loss, rtol=0, atol=0.01)


def test_a_seed_that_has_settled_has_met_the_rule():
    bench, weight, projection = begin({"net.q": 2})
    config = bench.settings.train
    raced = run(projection, projection.correlations(weight), config.model_copy(update={"steps": 40}))
    ended = settle(projection, raced, config)
    assert not raced.done.any()
    assert ended.done.all()
    assert (ended.loss <= config.tolerance).all()
    logits = bench.family().logits({"weight": projection.lift(ended.correlation, weight)}, bench.examples.inputs)
    assert (logits.argmax(-1) == bench.examples.labels).all()
    loss = torch.stack([torch.nn.functional.cross_entropy(each, bench.examples.labels) for each in logits])
    torch.testing.assert_close(loss.double(), ended.loss, rtol=1e-3, atol=0)


def test_a_seed_with_a_wrong_example_has_not_met_the_rule_however_small_its_loss():
    bench, weight, projection = begin({"net.q": 2, "train.tolerance": 0.8})
    config, steps = bench.settings.train, {"steps": 10}
    early = run(projection, projection.correlations(weight), config.model_copy(update=steps | {"tolerance": 1e-9}))
    ended = settle(projection, early, config)
    logits = bench.family().logits({"weight": projection.lift(ended.correlation, weight)}, bench.examples.inputs)
    assert ended.done.all()
    assert (logits.argmax(-1) == bench.examples.labels).all()


def test_settling_leaves_alone_what_is_done_and_keeps_to_its_steps():
    bench, weight, projection = begin({"net.q": 2})
    config, start = bench.settings.train, projection.correlations(weight)
    whole = run(projection, start, config)
    assert whole.done.all()
    assert settle(projection, whole, config) is whole
    bench, weight, projection = begin({})
    short = run(projection, projection.correlations(weight), config.model_copy(update={"steps": 60}))
    ended = settle(projection, short, config.model_copy(update={"steps": 100}))
    assert not ended.done.any()
    assert ((ended.evaluations - short.evaluations) <= 100).all()
    assert (ended.time > short.time).all()


@pytest.mark.parametrize(
    ("changes", "dynamics"),
    [
        ({}, PROJECTED),
        ({"net.q": 1}, FULL),
        ({"data.noise": 0.1}, FULL),
        ({"net.init": 2.0}, FULL),
        ({"train.method": "gd"}, FULL),
    ],
)
def test_a_point_is_projected_where_that_is_valid_alone(changes, dynamics):
    chosen = settings(EASY | {"train.steps": 60} | changes, base=preset(2, 3))
    assert measure_point(chosen, 0, 2, projected=True)["dynamics"] == dynamics
    assert measure_point(chosen, 0, 2, projected=False)["dynamics"] == FULL


@pytest.mark.slow
def test_a_projected_point_agrees_with_full_networks_within_its_interval():
    for plane, point in (("p-M", (1.0, 3)), ("q-init", (0.1, 3))):
        chosen = find_plane(plane).settings({"data.classes": 6}, *point)
        projected, full = (measure_point(chosen, 0, 6, projected=way) for way in (True, False))
        assert (projected["dynamics"], full["dynamics"]) == (PROJECTED, FULL)
        assert projected["low"] <= full["margin"] <= projected["high"]
        assert full["low"] <= projected["margin"] <= full["high"]


@pytest.mark.slow
def test_where_networks_end_beyond_the_polynomial_part_on_views_of_others_full_ones_are_trained():
    chosen = find_plane("p-M").settings({"data.classes": 6}, 0.8, 3)
    assert measure_point(chosen, 0, 6, projected=True)["dynamics"] == FULL
