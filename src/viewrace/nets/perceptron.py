"""A perceptron with one hidden layer, as a module; frozen, its hidden units are random features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Perceptron"]


class Perceptron(nn.Module):
    """Inputs (example, ...) are flattened; `width` ReLU units; a linear read-out to logits (example, class).

    Hidden weights are drawn with variance 2 / inputs (He et al. 2015), all else as torch does. frozen: the hidden layer stays as
    it was drawn, so that only the read-out is trained: a random-feature model (Rahimi & Recht 2007).
    """

    def __init__(self, inputs: int, width: int, classes: int, frozen: bool = False):
        super().__init__()
        self.hidden, self.last = nn.Linear(inputs, width), nn.Linear(width, classes)
        nn.init.normal_(self.hidden.weight, std=math.sqrt(2 / inputs))
        self.hidden.requires_grad_(not frozen)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.relu(self.hidden(inputs.flatten(1))))
