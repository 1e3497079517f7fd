"""Gaussian inputs with labels from a random teacher network: data without views, the control of Allen-Zhu & Li, section 1."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from viewrace.options import Options
from viewrace.streams import Stream, torch_generator

__all__ = ["Gaussian", "GaussianConfig"]

PROBES = 10_000
"""Inputs on which the mean response of the teacher's units is taken."""


class GaussianConfig(Options):
    """Where Gaussian data come from, and the random network that labels them."""

    dim: int = Field(10, ge=1, description="numbers in an input")
    classes: int = Field(4, ge=2, description="classes that the teacher tells apart")
    hidden: int = Field(10, ge=1, description="ReLU units of the teacher's hidden layer")
    clusters: int = Field(0, ge=0, description="Gaussians in the mixture, at random directions; 0: one Gaussian at the origin")
    distance: float = Field(2.0, gt=0, description="distance of a cluster's centre from the origin, in units of its deviation")
    centred: bool = Field(True, description="the units' mean response is taken off first, so that no class is favoured")


class Gaussian:
    """One distribution: a teacher argmax_k <b_k, relu(A x)> and, in a mixture, centres, all drawn under the root seed.

    A has variance 2 / dim, b variance 1. Labels are those of the teacher, without noise, so a class can be rare.
    """

    def __init__(self, config: GaussianConfig, root: int):
        self.config, self.root = config, root
        draw = torch_generator(root, Stream.FEATURES)
        self.first = torch.randn(config.dim, config.hidden, generator=draw) * math.sqrt(2 / config.dim)
        self.second = torch.randn(config.hidden, config.classes, generator=draw)
        directions = torch.randn(max(config.clusters, 1), config.dim, generator=draw)
        self.centres = torch.nn.functional.normalize(directions, dim=1) * (config.distance if config.clusters else 0.0)
        self.mean = torch.zeros(config.hidden)
        if config.centred:
            self.mean = torch.relu(self._inputs(PROBES, draw) @ self.first).mean(dim=0)

    def train(self, examples: int) -> tuple[Tensor, Tensor]:
        """Inputs (example, dim) and labels (example,) to train on."""
        return self._draw(examples, Stream.TRAIN)

    def test(self, examples: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels of fresh examples."""
        return self._draw(examples, Stream.TEST)

    def label(self, inputs: Tensor) -> Tensor:
        """(example,) what the teacher says of inputs (example, dim)."""
        return self.logits(inputs).argmax(dim=1)

    def logits(self, inputs: Tensor) -> Tensor:
        """(example, class) the teacher's logits."""
        return (torch.relu(inputs @ self.first) - self.mean) @ self.second

    def _draw(self, examples: int, stream: Stream) -> tuple[Tensor, Tensor]:
        inputs = self._inputs(examples, torch_generator(self.root, stream))
        return inputs, self.label(inputs)

    def _inputs(self, examples: int, draw: torch.Generator) -> Tensor:
        around = torch.randn(examples, self.config.dim, generator=draw)
        if not self.config.clusters:
            return around
        return around + self.centres[torch.randint(self.config.clusters, (examples,), generator=draw)]
