"""Any torch module: imported by name, drawn by explicit seeds, and the same function alone and among members."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from viewrace.nets.images import IMAGE_NETS, conv_net, image_net, resnet, vision_transformer, wide_resnet_16_2
from viewrace.nets.module import ModuleNet, check_output, draw, import_factory, stack
from viewrace.streams import Stream, torch_generator

SHAPE = (2, 8, 8)


def generators(count: int, start: int = 0) -> list[torch.Generator]:
    return [torch_generator(0, Stream.INIT, member) for member in range(start, start + count)]


class Counting(nn.Module):
    """Has a buffer that a forward pass replaces, one that it changes in place, a frozen weight and tied weights."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(128, 3)
        self.second = self.first
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.register_buffer("replaced", torch.zeros(()))
        self.register_buffer("changed", torch.zeros(3))

    def forward(self, images):
        logits = self.second(images.flatten(1))
        if self.training:
            self.replaced = self.replaced + logits.detach().mean()
            self.changed.add_(logits.detach().mean(dim=0))
        return logits + self.frozen


NETS = {name: image_net(name, SHAPE, 3) for name in IMAGE_NETS} | {"own": Counting}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "loop"])
def test_a_member_is_the_module_itself(name, batched):
    modules = draw(NETS[name], generators(3))
    net, (weights, buffers) = ModuleNet(copy.deepcopy(modules[0])), stack(modules)
    inputs = torch.rand(3, 6, *SHAPE, generator=torch.Generator().manual_seed(0))
    before = {key: tensor.clone() for key, tensor in buffers.items()}
    said, after = net.respond(weights, buffers, inputs, own=True, training=True, batched=batched)
    for index, module in enumerate(modules):
        torch.testing.assert_close(said[index], module.train()(inputs[index]), rtol=0, atol=2e-5)
        for key in buffers:
            own = dict(module.named_buffers()) | dict(module.named_parameters())
            torch.testing.assert_close(after[key][index], own[key], rtol=1e-5, atol=1e-6)
    assert all(torch.equal(buffers[key], tensor) for key, tensor in before.items())
    quiet, _ = net.respond(weights, after, inputs[0], batched=batched)
    for index, module in enumerate(modules):
        torch.testing.assert_close(quiet[index], module.eval()(inputs[0]), rtol=0, atol=2e-5)


def test_frozen_weights_are_not_trained_and_tied_ones_are_one():
    weights, buffers = stack(draw(Counting, generators(2)))
    assert set(weights) == {"first.weight", "first.bias"}
    assert set(buffers) == {"frozen", "replaced", "changed"}


@pytest.mark.parametrize("name", NETS)
def test_the_seed_alone_decides_the_init(name):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    many = draw(NETS[name], generators(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    some = draw(NETS[name], generators(2, start=1))
    for one, other in zip(many[1:], some, strict=True):
        assert all(map(torch.equal, one.parameters(), other.parameters()))
    assert not all(map(torch.equal, many[0].parameters(), many[1].parameters()))


def seeds_itself():
    torch.manual_seed(0)
    return nn.Linear(2, 2)


def draws_elsewhere():
    net = nn.Linear(2, 2)
    nn.init.constant_(net.weight, np.random.rand())  # noqa: NPY002 (what a factory must not do)
    return net


ONE = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (seeds_itself, "must not seed torch's global generator"),
        (draws_elsewhere, "networks differ under one seed"),
        (lambda: ONE, "the same object again"),
        (lambda: 3, "must return a torch.nn.Module, received int"),
        (lambda: nn.LazyLinear(3), "received lazy ones"),
        (lambda: 1 / 0, "the network factory failed: ZeroDivisionError: division by zero"),
        (lambda needed: ONE, "TypeError"),
    ],
)
def test_bad_factories_are_refused(refusal, factory, words):
    assert words in refusal(draw, factory, generators(2))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(128, 4)),
            "logits of shape (2, 3) for inputs of shape (2, 2, 8, 8), received (2, 4)",
        ),
        (nn.Conv2d(2, 3, 1), "received (2, 3, 8, 8)"),
        (nn.Conv2d(1, 3, 1), "the network failed on inputs of shape (2, 2, 8, 8): RuntimeError"),
        (nn.LSTM(8, 3), "the network failed"),
        (nn.GRU(8, 3, batch_first=True), "the network failed"),
    ],
)
def test_networks_that_give_something_else_are_refused(refusal, module, words):
    assert words in refusal(check_output, module, SHAPE, 3)


def test_a_factory_is_imported_from_the_working_folder(tmp_path, monkeypatch, refusal):
    (tmp_path / "own_nets.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(3, 2)\nvalue = 3\n")
    (tmp_path / "broken_nets.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "wrong_nets.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    assert import_factory("own_nets:make")().out_features == 2
    assert image_net("own_nets:make", SHAPE, 3)().out_features == 2
    for spec, words in [
        ("own_nets", "is named package.module:name"),
        ("own_nets:", "is named package.module:name"),
        ("own_nets:other", "found nothing of that name"),
        ("own_nets:value", "found a int"),
        ("no_nets:make", "ModuleNotFoundError: No module named 'no_nets'"),
        ("broken_nets:make", "No module named 'nowhere_to_be_found'"),
        ("wrong_nets:make", "SyntaxError"),
    ]:
        assert words in refusal(import_factory, spec)


def test_weights_are_counted_as_in_the_papers():
    counts = {name: sum(weight.numel() for weight in image_net(name, (3, 32, 32), 10)().parameters()) for name in IMAGE_NETS}
    assert counts["resnet20"] == 269_722
    assert counts["wrn16-2"] == 691_674
    assert counts["resnet8"] == 75_290


@pytest.mark.parametrize("name", IMAGE_NETS)
@pytest.mark.parametrize("size", [(8, 8), (8, 24), (32, 32)])
def test_networks_take_the_sizes_they_are_made_for(name, size):
    check_output(image_net(name, (3, *size), 5)(), (3, *size), 5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: image_net("resnet9", SHAPE, 3), "nearest known one is resnet8"),
        (lambda: resnet(3, 32, 10, depth=10), "must be 6n + 2"),
        (lambda: conv_net(3, 3, 10), "images of 4x4 or more, received 3x3"),
        (lambda: wide_resnet_16_2(3, (32, 2), 10), "received 32x2"),
        (lambda: vision_transformer(3, 9, 10, patch=4), "whole patches of 4 pixels, received 9x9"),
        (lambda: vision_transformer(3, 8, 10, dim=10), "dim must be a multiple of heads = 4"),
    ],
)
def test_networks_that_cannot_be_are_refused(refusal, make, words):
    assert words in refusal(make)
