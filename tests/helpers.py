"""What several test files build: networks of a small race, members on digits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from viewrace.config import settings
from viewrace.data import Distribution
from viewrace.nets import make_family
from viewrace.streams import Stream, torch_generator

THREE_CLASSES: dict[str, Any] = {
    "data.classes": 3,
    "data.views": 2,
    "data.dim": 8,
    "data.patches": 4,
    "data.examples": 30,
    "data.distractors": 1.0,
    "data.test_examples": 30,
    "net.width": 2,
}
"""The smallest race: three classes of two views, networks of two neurons a class."""


def begin(changes: dict[str, Any], seeds: Callable[[int], list[torch.Generator]], count: int = 3):
    """Family, float64 init, examples and features of the settings that differ from the defaults by `changes`."""
    chosen = settings(changes)
    distribution = Distribution(chosen.data, root=0)
    family = make_family(chosen.net, chosen.data)
    params = {"weight": family.init(seeds(count))["weight"].double()}
    return family, params, distribution.train(), distribution.features


def generators(count: int, start: int = 0) -> list[torch.Generator]:
    """Generators of the inits of members, as train_members draws them under root seed 0."""
    return [torch_generator(0, Stream.INIT, member) for member in range(start, start + count)]


def linear() -> nn.Module:
    """A linear classifier of digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
