"""A multilayer perceptron of any depth, with a closed-form backward."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from viewrace.nets.activation import smoothed_relu, smoothed_relu_parts
from viewrace.nets.family import Family, Params, Pullback

__all__ = ["MLP", "normal"]


class MLP(Family):
    """Patches flattened into one vector, hidden layers with the smoothed ReLU (q = 1: plain), a linear read-out.

    weight_i: (seed, out, in), N(0, init^2 2 / in); init = 1 is He's scale. bias_i: (seed, out), 0. boosted, boost: at init
    the weights of the first `boosted` coordinates of the input are `boost` times what they would be.
    """

    name = "mlp"
    seats_matter = True

    def __init__(
        self,
        classes: int,
        dim: int,
        patches: int,
        hidden: Sequence[int],
        q: int,
        rho: float,
        init: float,
        boosted: int = 0,
        boost: float = 1.0,
    ):
        self.sizes = (patches * dim, *hidden, classes)
        self.q, self.rho, self.init_scale = q, rho, init
        self.boosted, self.boost = boosted, boost

    def init(self, generators: Sequence[torch.Generator]) -> Params:
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            params[f"weight_{layer}"] = normal(generators, (fan_out, fan_in), self.init_scale * math.sqrt(2 / fan_in))
            params[f"bias_{layer}"] = torch.zeros(len(generators), fan_out)
        params["weight_0"][:, :, : self.boosted] *= self.boost
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

    def logits(self, params: Params, inputs: Tensor) -> Tensor:
        return self._forward(params, inputs.flatten(1))[0].mT

    def pullback(self, params: Params, inputs: Tensor) -> tuple[Tensor, Pullback]:
        """Back-propagation by batched products, several times faster than torch.func on mini-batches."""
        rows = inputs.flatten(1)
        logits, hidden, slopes = self._forward(params, rows)

        def back(residual: Tensor) -> Params:
            delta, gradient = residual.mT.contiguous(), {}
            for layer in reversed(range(len(self.sizes) - 1)):
                gradient[f"bias_{layer}"] = delta.sum(dim=2)
                if layer == 0:
                    gradient["weight_0"] = (delta.reshape(-1, len(rows)) @ rows).view_as(params["weight_0"])
                    break
                gradient[f"weight_{layer}"] = delta @ hidden[layer - 1].transpose(1, 2)
                delta = (params[f"weight_{layer}"].transpose(1, 2) @ delta).mul_(slopes[layer - 1])
            return {name: gradient[name] for name in params}

        return logits.mT, back

    def _forward(self, params: Params, rows: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """(seed, class, example) logits, and of each hidden layer what it gives and its slope, (seed, neuron, example)."""
        seeds, hidden, slopes = len(params["weight_0"]), [], []
        product = (params["weight_0"].flatten(0, 1) @ rows.T).view(seeds, -1, len(rows))
        now = product.add_(params["bias_0"][:, :, None])
        for layer in range(1, len(self.sizes) - 1):
            value, slope = smoothed_relu_parts(now / self.rho, self.q)
            hidden.append(value.mul_(self.rho))
            slopes.append(slope)
            now = torch.baddbmm(params[f"bias_{layer}"][:, :, None], params[f"weight_{layer}"], hidden[-1])
        return now, hidden, slopes


def normal(generators: Sequence[torch.Generator], shape: tuple[int, int], spread: float) -> Tensor:
    """(seed, *shape) normal numbers of standard deviation `spread`, each seed's from its own generator."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]) * spread
