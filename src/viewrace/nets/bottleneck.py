"""A multilayer perceptron with bottlenecks: a first layer of low rank, or few responses passed on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from viewrace.nets.activation import smoothed_relu
from viewrace.nets.family import Family, Params, Pullback
from viewrace.nets.mlp import MLP, normal

__all__ = ["BottleneckMLP"]


class BottleneckMLP(MLP):
    """An MLP, trained through torch.func, with one or both of two bottlenecks.

    rank: the first layer is a product weight_0 squeeze_0 of that rank, squeeze_0 (seed, rank, in) and weight_0 (seed, out,
    rank); their product has the spread that weight_0 has without. top_k: of each hidden layer only the k largest responses of
    an example pass, the others are 0.
    """

    def __init__(self, *args: object, rank: int | None = None, top_k: int | None = None, **named: object):
        super().__init__(*args, **named)  # type: ignore[arg-type]
        self.rank, self.top_k = rank, top_k

    def init(self, generators: Sequence[torch.Generator]) -> Params:
        if self.rank is None:
            return super().init(generators)
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            spread = self.init_scale * math.sqrt(2 / fan_in)
            if layer == 0:
                params["squeeze_0"] = normal(generators, (self.rank, fan_in), spread)
                fan_in, spread = self.rank, math.sqrt(1 / self.rank)
            params[f"weight_{layer}"] = normal(generators, (fan_out, fan_in), spread)
            params[f"bias_{layer}"] = torch.zeros(len(generators), fan_out)
        params["squeeze_0"][:, :, : self.boosted] *= self.boost
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

    def logits(self, params: Params, inputs: Tensor) -> Tensor:
        return Family.logits(self, params, inputs)

    def pullback(self, params: Params, inputs: Tensor) -> tuple[Tensor, Pullback]:
        return Family.pullback(self, params, inputs)

    def _largest(self, responses: Tensor) -> Tensor:
        """The top_k largest responses of each example; by index, so that ties do not let more through."""
        if self.top_k is None or self.top_k >= responses.shape[-1]:
            return responses
        index = responses.topk(self.top_k, dim=-1).indices
        return responses * torch.zeros_like(responses).scatter(-1, index, 1.0)
