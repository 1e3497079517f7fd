"""A deep linear network: layers without activations or biases, with a closed-form backward."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from viewrace.nets.family import Family, Params, Pullback

__all__ = ["DeepLinear"]


class DeepLinear(Family):
    """Patches flattened into one vector x, then f(x) = W_L ... W_1 W_0 x (Saxe, McClelland & Ganguli 2014, eq. 1).

    weight_i: (seed, out, in), N(0, init^2 / in), W_0 first; init = 1 keeps the size of a vector from layer to layer. Without
    hidden layers it is linear regression.
    """

    name = "linear"
    seats_matter = True

    def __init__(self, classes: int, dim: int, patches: int, hidden: Sequence[int], init: float):
        self.sizes = (patches * dim, *hidden, classes)
        self.init_scale = init

    def init(self, generators: Sequence[torch.Generator]) -> Params:
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            draws = [torch.randn(fan_out, fan_in, generator=generator) for generator in generators]
            params[f"weight_{layer}"] = torch.stack(draws) * (self.init_scale / math.sqrt(fan_in))
        return params

    def apply(self, params: Params, inputs: Tensor) -> Tensor:
        hidden = inputs.flatten(1)
        for layer in range(len(self.sizes) - 1):
            hidden = torch.nn.functional.linear(hidden, params[f"weight_{layer}"])
        return hidden

    def activations(self, examples: int) -> int:
        return 2 * examples * sum(self.sizes[1:])

    def pullback(self, params: Params, inputs: Tensor) -> tuple[Tensor, Pullback]:
        """Closed form: dLoss/dW_l = sum over examples of delta_l h_l^T, delta_(l-1) = W_l^T delta_l, h_l layer l's input."""
        layers = range(len(self.sizes) - 1)
        seen = [inputs.flatten(1)]
        for layer in layers:
            seen.append(seen[-1] @ params[f"weight_{layer}"].mT)

        def back(residual: Tensor) -> Params:
            gradient: Params = {}
            delta = residual
            for layer in reversed(layers):
                gradient[f"weight_{layer}"] = delta.mT @ seen[layer]
                if layer:
                    delta = delta @ params[f"weight_{layer}"]
            return gradient

        return seen[-1], back
