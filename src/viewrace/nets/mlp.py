"""A multilayer perceptron of any depth, trained through torch.func; with bottlenecks and a lopsided init where asked for."""

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

    rank: the first layer is a product weight_0 squeeze_0 of that rank, squeeze_0 (seed, rank, in) and weight_0 (seed, out,
    rank); their product has the spread that weight_0 has without. top_k: of each hidden layer only the k largest responses of
    an example pass, the others are 0. boosted, boost: at init the weights of the first `boosted` coordinates of the input
    are `boost` times what they would be.
    """

    name = "mlp"

    def __init__(
        self,
        classes: int,
        dim: int,
        patches: int,
        hidden: Sequence[int],
        q: int,
        rho: float,
        init: float,
        rank: int | None = None,
        top_k: int | None = None,
        boosted: int = 0,
        boost: float = 1.0,
    ):
        self.sizes = (patches * dim, *hidden, classes)
        self.q, self.rho, self.init_scale = q, rho, init
        self.rank, self.top_k, self.boosted, self.boost = rank, top_k, boosted, boost

    def init(self, generators: Sequence[torch.Generator]) -> Params:
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            spread = self.init_scale * math.sqrt(2 / fan_in)
            if layer == 0 and self.rank is not None:
                params["squeeze_0"] = _normal(generators, (self.rank, fan_in), spread)
                fan_in, spread = self.rank, math.sqrt(1 / self.rank)
            params[f"weight_{layer}"] = _normal(generators, (fan_out, fan_in), spread)
            params[f"bias_{layer}"] = torch.zeros(len(generators), fan_out)
        entrance = "weight_0" if self.rank is None else "squeeze_0"
        params[entrance][:, :, : self.boosted] *= self.boost
        return params

    def apply(self, params: Params, inputs: Tensor) -> Tensor:
        hidden = inputs.flatten(1)
        if self.rank is not None:
            hidden = hidden @ params["squeeze_0"].T
        last = len(self.sizes) - 2
        for layer in range(last + 1):
            hidden = torch.nn.functional.linear(hidden, params[f"weight_{layer}"], params[f"bias_{layer}"])
            if layer < last:
                hidden = self._largest(smoothed_relu(hidden, self.q, self.rho))
        return hidden

    def activations(self, examples: int) -> int:
        return 4 * examples * (sum(self.sizes[1:]) + (self.rank or 0))

    def _largest(self, responses: Tensor) -> Tensor:
        """The top_k largest responses of each example; by index, so that ties do not let more through."""
        if self.top_k is None or self.top_k >= responses.shape[-1]:
            return responses
        index = responses.topk(self.top_k, dim=-1).indices
        return responses * torch.zeros_like(responses).scatter(-1, index, 1.0)


def _normal(generators: Sequence[torch.Generator], shape: tuple[int, int], spread: float) -> Tensor:
    """(seed, *shape) normal numbers of standard deviation `spread`, each seed's from its own generator."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]) * spread
