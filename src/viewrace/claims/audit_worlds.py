"""Models and data whose audit has a known answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from viewrace.config import Settings
from viewrace.data import Distribution
from viewrace.data.gaussian import Gaussian, GaussianConfig
from viewrace.data.images import ImageSet
from viewrace.nets.activation import smoothed_relu
from viewrace.nets.module import Factory
from viewrace.nets.perceptron import Perceptron
from viewrace.presets import preset
from viewrace.streams import Stream, torch_generator
from viewrace.train.members import MemberConfig

__all__ = ["PLAIN", "WORLDS", "World", "world_of"]

Pair = tuple[Tensor, Tensor]
TEST = 3000
PLAIN = {"nesterov": False, "weight_decay": 0.0, "warmup": 0.0, "normalise": False, "engine": "batched"}


@dataclass(frozen=True)
class World:
    """A model, its data, and how it is trained."""

    factory: Factory
    train: ImageSet
    test: ImageSet
    config: MemberConfig


class _Scaled(nn.Module):
    """Takes pixels in [0, 1] back to the numbers that they stand for, (example, patch, dim), and asks a network about these."""

    def __init__(self, bound: float, net: nn.Module):
        super().__init__()
        self.bound, self.net = bound, net

    def forward(self, images: Tensor) -> Tensor:
        return self.net((2 * images - 1).squeeze(1) * self.bound)


class _Patches(nn.Module):
    """AZL's patch network."""

    def __init__(self, classes: int, dim: int, width: int, q: int, init: float):
        super().__init__()
        self.q = q
        self.weight = nn.Parameter(init * torch.randn(classes, width, dim))

    def forward(self, inputs: Tensor) -> Tensor:
        response = torch.einsum("kmd,npd->nkmp", self.weight, inputs)
        return smoothed_relu(response, self.q, 1.0).sum(dim=(2, 3))


def world_of(factory: Factory, train: Pair, test: Pair, classes: int, config: MemberConfig) -> World:
    """Numbers (example, patch, dim) of both sets as images, all scaled into [0, 1] by one bound, which the network undoes."""
    bound = max(float(part[0].abs().max()) for part in (train, test))
    names = tuple(str(label) for label in range(classes))
    sets = [ImageSet(((inputs / bound + 1) / 2).clamp(0, 1)[:, None], labels, names) for inputs, labels in (train, test)]
    return World(lambda: _Scaled(bound, factory()), sets[0], sets[1], config)


def multi_view(root: int) -> World:
    """The preset's multi-view data and q = 4; half of the test examples are single-view."""
    settings: Settings = preset(views=3, classes=4).replace(**{"data.examples": 300, "data.test_examples": TEST // 2})
    distribution = Distribution(settings.data, root)
    train, both, single = distribution.train(), distribution.test(), distribution.test_single()
    test = torch.cat([both.inputs, single.inputs]), torch.cat([both.labels, single.labels])
    config = MemberConfig(epochs=200, batch=100, rate=0.3, **PLAIN)

    def network() -> nn.Module:
        return _Patches(settings.data.classes, settings.data.dim, width=8, q=4, init=0.1)

    return world_of(network, (train.inputs, train.labels), test, settings.data.classes, config)


def gaussian(root: int) -> World:
    """AZL's control: Gaussian inputs, labels from a random network."""
    return _taught(root, dim=5, examples=4000, classes=3, hidden=10, width=64, epochs=10)


def random_features(root: int) -> World:
    """Gaussian inputs, labels from a random network, and members whose features are random and stay so."""
    return _taught(root, dim=20, examples=1500, classes=5, hidden=20, width=50, epochs=40, frozen=True)


def _taught(
    root: int, dim: int, examples: int, classes: int, hidden: int, width: int, epochs: int, frozen: bool = False
) -> World:
    data = Gaussian(GaussianConfig(dim=dim, classes=classes, hidden=hidden, centred=False), root)
    inputs = [part[0] for part in (data.train(examples), data.test(TEST))]
    said = [data.logits(part) for part in inputs]
    # else a random network may never name some class
    labels = [((own - said[0].mean(0)) / said[0].std(0)).argmax(dim=1) for own in said]
    sets = (inputs[0][:, None], labels[0]), (inputs[1][:, None], labels[1])
    config = MemberConfig(epochs=epochs, batch=200, rate=0.1, **PLAIN)
    return world_of(lambda: Perceptron(dim, width, classes, frozen), *sets, classes, config)


def label_noise(root: int) -> World:
    """One Gaussian cluster a class, so one view; a fifth of the training labels are drawn anew, and members fit them."""
    classes, dim, examples, flipped, distance = 5, 20, 600, 0.2, 3.0
    generator = torch_generator(root, Stream.FEATURES)
    centre = distance * nn.functional.normalize(torch.randn(classes, dim, generator=generator), dim=1)
    sets = []
    for count, stream in ((examples, Stream.TRAIN), (TEST, Stream.TEST)):
        labels = torch.arange(count) % classes
        noise = torch.randn(count, dim, generator=torch_generator(root, stream))
        sets.append(((centre[labels] + noise)[:, None], labels))
    inputs, labels = sets[0]
    drawn = torch.randint(classes, (examples,), generator=generator)
    labels = torch.where(torch.rand(examples, generator=generator) < flipped, drawn, labels)
    config = MemberConfig(epochs=60, batch=200, rate=0.1, **PLAIN)
    return world_of(lambda: Perceptron(dim, 64, classes), (inputs, labels), sets[1], classes, config)


WORLDS: dict[str, Callable[[int], World]] = {
    "multi-view": multi_view,
    "gaussian": gaussian,
    "label noise": label_noise,
    "random features": random_features,
}
