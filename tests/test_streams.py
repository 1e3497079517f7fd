"""Random streams: a name fixes its numbers, and nothing else in the process moves them or is moved by them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewrace.config import Train, settings
from viewrace.data import Distribution, check
from viewrace.nets import make_family
from viewrace.streams import Stream, numpy_generator, torch_generator
from viewrace.train import HardLoss, train

names = st.tuples(st.integers(0, 2**40), st.sampled_from(Stream), st.lists(st.integers(0, 2**20), max_size=3).map(tuple))


def draw_torch(root, stream, indices) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=torch_generator(root, stream, *indices), dtype=torch.float64).tolist())


def draw_numpy(root, stream, indices) -> tuple[float, ...]:
    return tuple(numpy_generator(root, stream, *indices).random(4).tolist())


@pytest.mark.parametrize("draw", [draw_torch, draw_numpy])
@given(first=names, second=names)
def test_a_stream_is_its_name(draw, first, second):
    assert draw(*first) == draw(*first)
    assert (draw(*first) == draw(*second)) == (first == second)


@pytest.mark.parametrize("draw", [draw_torch, draw_numpy])
def test_near_names_have_nothing_in_common(draw):
    indices = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    drawn = [draw(root, stream, index) for root in range(3) for stream in Stream for index in indices]
    values = [value for numbers in drawn for value in numbers]
    assert len(set(values)) == len(values)


def test_streams_are_never_renumbered():
    expected = {"FEATURES": 0, "TRAIN": 1, "TEST": 2, "TEST_SINGLE": 3, "ORDER": 5, "INIT": 6, "BOOTSTRAP": 7}
    expected |= {"AUGMENT": 8, "MODULE": 9, "COMPOSITE": 10}
    assert {stream.name: int(stream) for stream in Stream} == expected


@pytest.mark.parametrize("family", ["patch", "mlp"])
def test_growing_an_ensemble_keeps_its_first_members(tiny, seeds, family):
    net = make_family(tiny.replace(**{"net.family": family, "net.hidden": [5]}).net, tiny.data)
    small, large = net.init(seeds(3)), net.init(seeds(7))
    joined = net.init(seeds(7, start=3))
    for name in small:
        assert torch.equal(small[name], large[name][:3])
        assert torch.equal(joined[name], large[name][3:])


def test_members_are_not_one_network(tiny, seeds):
    weight = make_family(tiny.net, tiny.data).init(seeds(5))["weight"].flatten(1)
    correlation = torch.corrcoef(weight) - torch.eye(5)
    assert correlation.abs().max() < 5 / weight.shape[1] ** 0.5


def global_state() -> tuple[list[int], list[int], int]:
    """Where the global generators of torch and NumPy stand."""
    _, words, position, *_ = np.random.get_state()  # noqa: NPY002 (the legacy global generator is what must not move)
    return torch.get_rng_state().tolist(), words.tolist(), position


def everything(changes: dict) -> list[torch.Tensor]:
    """Draw all that a data set can give and train on it; returns what came out."""
    config = settings(changes)
    distribution = Distribution(config.data, root=3)
    examples = distribution.train()
    family = make_family(config.net, config.data)
    out = [examples.inputs, distribution.test().inputs, distribution.test_single().inputs, distribution.probes()]
    for method in ("flow", "gd", "sgd"):
        chosen = Train(method=method, steps=12, batch=10)
        inits = [torch_generator(3, Stream.INIT, 0, index) for index in range(2)]
        trained = train(family, inits, examples.inputs, HardLoss(examples.labels), chosen, order=3)
        out += list(trained.params.values())
    check(distribution)
    return out


SMALL = {"data.classes": 3, "data.views": 2, "data.examples": 30, "data.test_examples": 90, "data.distractors": 1.0}


@pytest.mark.parametrize("source", [{"data.dim": 8}, {"data.source": "digits", "data.dim": 64}], ids=["features", "digits"])
@pytest.mark.parametrize("layout", [{"data.patches": 5}, {"data.layout": "flat", "data.p": 0.5}], ids=["patches", "flat"])
@pytest.mark.parametrize("family", ["patch", "mlp"])
def test_no_global_generator_is_read_or_moved(source, layout, family):
    changes = SMALL | source | layout | {"net.family": family, "net.hidden": [6]}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = global_state()
        first = everything(changes)
        assert global_state() == before
        torch.manual_seed(2)
        second = everything(changes)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
