"""Models and data whose audit has a known answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from viewrace.config import Settings
from viewrace.data import Distribution
from viewrace.data.images import ImageSet
from viewrace.nets.activation import smoothed_relu
from viewrace.nets.module import Factory
from viewrace.presets import preset
from viewrace.streams import Stream, torch_generator
from viewrace.train.members import MemberConfig

__all__ = ["WORLDS", "World"]

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
    """Takes pixels in [0, 1] back to the numbers that they stand for, flat or as patches."""

    def __init__(self, bound: float):
        super().__init__()
        self.bound = bound

    def back(self, images: Tensor) -> Tensor:
        """(example, patch, dim)."""
        return (2 * images - 1).squeeze(1) * self.bound


class _Patches(_Scaled):
    """AZL's patch network."""

    def __init__(self, bound: float, classes: int, dim: int, width: int, q: int, init: float):
        super().__init__(bound)
        self.q = q
        self.weight = nn.Parameter(init * torch.randn(classes, width, dim))

    def forward(self, images: Tensor) -> Tensor:
        response = torch.einsum("kmd,npd->nkmp", self.weight, self.back(images))
        return smoothed_relu(response, self.q, 1.0).sum(dim=(2, 3))


class _Perceptron(_Scaled):
    """One hidden layer of ReLU units; with `frozen`, they are random features and only the last layer is trained."""

    def __init__(self, bound: float, dim: int, width: int, classes: int, frozen: bool = False):
        super().__init__(bound)
        self.hidden, self.last = nn.Linear(dim, width), nn.Linear(width, classes)
        nn.init.normal_(self.hidden.weight, std=math.sqrt(2 / dim))
        self.hidden.requires_grad_(not frozen)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.relu(self.hidden(self.back(images).flatten(1))))


def _world(
    module: Callable[[float], nn.Module],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: int,
    config: MemberConfig,
) -> World:
    """Numbers (example, patch, dim) of both sets as images, all scaled into [0, 1] by one bound."""
    bound = max(float(part[0].abs().max()) for part in (train, test))
    names = tuple(str(label) for label in range(classes))
    sets = [ImageSet(((inputs / bound + 1) / 2).clamp(0, 1)[:, None], labels, names) for inputs, labels in (train, test)]
    return World(lambda: module(bound), sets[0], sets[1], config)


def multi_view(root: int) -> World:
    """The preset's multi-view data and q = 4; half of the test examples are single-view."""
    settings: Settings = preset(views=3, classes=4).replace(**{"data.examples": 300, "data.test_examples": TEST // 2})
    distribution = Distribution(settings.data, root)
    train, both, single = distribution.train(), distribution.test(), distribution.test_single()
    test = torch.cat([both.inputs, single.inputs]), torch.cat([both.labels, single.labels])
    config = MemberConfig(epochs=200, batch=100, rate=0.3, **PLAIN)

    def network(bound: float) -> nn.Module:
        return _Patches(bound, settings.data.classes, settings.data.dim, width=8, q=4, init=0.1)

    return _world(network, (train.inputs, train.labels), test, settings.data.classes, config)


def gaussian(root: int) -> World:
    """AZL's control: Gaussian inputs, labels from a random network."""
    return _taught(root, dim=5, examples=4000, classes=3, hidden=10, width=64, epochs=10)


def random_features(root: int) -> World:
    """Gaussian inputs, labels from a random network, and members whose features are random and stay so."""
    return _taught(root, dim=20, examples=1500, classes=5, hidden=20, width=50, epochs=40, frozen=True)


def _taught(
    root: int, dim: int, examples: int, classes: int, hidden: int, width: int, epochs: int, frozen: bool = False
) -> World:
    generator = torch_generator(root, Stream.FEATURES)
    first = torch.randn(dim, hidden, generator=generator) * math.sqrt(2 / dim)
    second = torch.randn(hidden, classes, generator=generator)
    drawn = (examples, Stream.TRAIN), (TEST, Stream.TEST)
    inputs = [torch.randn(count, 1, dim, generator=torch_generator(root, stream)) for count, stream in drawn]
    said = [torch.relu(part[:, 0] @ first) @ second for part in inputs]
    # else a random network may never name some class
    sets = [(part, ((own - said[0].mean(0)) / said[0].std(0)).argmax(dim=1)) for part, own in zip(inputs, said, strict=True)]
    config = MemberConfig(epochs=epochs, batch=200, rate=0.1, **PLAIN)
    return _world(lambda bound: _Perceptron(bound, dim, width, classes, frozen), sets[0], sets[1], classes, config)


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
    return _world(lambda bound: _Perceptron(bound, dim, 64, classes), (inputs, labels), sets[1], classes, config)


WORLDS: dict[str, Callable[[int], World]] = {
    "multi-view": multi_view,
    "gaussian": gaussian,
    "label noise": label_noise,
    "random features": random_features,
}
