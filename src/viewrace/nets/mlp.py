"""A multilayer perceptron of any depth, trained through torch.func."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from viewrace.nets.activation import smoothed_relu
from viewrace.nets.family import Family, Params

__all__ = ["MLP"]


class MLP(Family):
    """Patches flattened into one vector, hidden layers with the smoothed ReLU (q = 1: plain), a linear read-out.

    weight_i: (seed, out, in), N(0, init^2 2 / in); init = 1 is He's scale. bias_i: (seed, out), 0.
    """

    name = "mlp"
    seats_matter = True

    def __init__(self, classes: int, dim: int, patches: int, hidden: Sequence[int], q: int, rho: float, init: float):
        self.sizes = (patches * dim, *hidden, classes)
        self.q, self.rho, self.init_scale = q, rho, init

    def init(self, generators: Sequence[torch.Generator]) -> Params:
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            draws = [torch.randn(fan_out, fan_in, generator=generator) for generator in generators]
            params[f"weight_{layer}"] = torch.stack(draws) * (self.init_scale * math.sqrt(2 / fan_in))
            params[f"bias_{layer}"] = torch.zeros(len(generators), fan_out)
        return params

    def apply(self, params: Params, inputs: Tensor) -> Tensor:
        hidden = inputs.flatten(1)
        last = len(self.sizes) - 2
        for layer in range(last + 1):
            hidden = torch.nn.functional.linear(hidden, params[f"weight_{layer}"], params[f"bias_{layer}"])
            if layer < last:
                hidden = smoothed_relu(hidden, self.q, self.rho)
        return hidden

    def activations(self, examples: int) -> int:
        return 4 * examples * sum(self.sizes[1:])
