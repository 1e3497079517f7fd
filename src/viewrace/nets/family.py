"""The contract of a net family, and what any family gets through torch.func."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Family", "Params", "Pullback"]

Params = dict[str, Tensor]
"""Named weights of many networks; the leading axis of every tensor is `seed`."""

Pullback = Callable[[Tensor], Params]
"""From a residual dLoss/dlogits (seed, example, class) to the gradients of the weights."""


class Family(ABC):
    """Networks of one architecture that differ in their seed.

    A seed's result does not depend on which other seeds are beside it (to the rounding of a matrix product). A family with
    a closed-form backward overrides `pullback`; it serves every loss, since the loss enters through the residual alone.
    """

    name: str
    seats_matter: bool = False
    """Whether a patch counts by its place, so that inputs must have all patches; a view is then probed in every place."""

    @abstractmethod
    def init(self, generators: Sequence[torch.Generator]) -> Params:
        """Initial weights of one network for each generator."""

    @abstractmethod
    def apply(self, params: Params, inputs: Tensor) -> Tensor:
        """One network: weights without the seed axis, inputs (example, patch, dim) to logits (example, class)."""

    @abstractmethod
    def activations(self, examples: int) -> int:
        """Numbers that one network holds at once for that many examples, forward and back: what sizes a block."""

    def prepare(self, inputs: Tensor) -> Any:
        """What `logits` and `pullback` may be given in place of inputs (example, patch, dim), to rearrange them once."""
        return inputs

    def logits(self, params: Params, inputs: Any) -> Tensor:
        """(seed, example, class) logits of all networks on the same inputs (example, patch, dim)."""
        return torch.func.vmap(self.apply, in_dims=(0, None))(params, inputs)

    def pullback(self, params: Params, inputs: Any) -> tuple[Tensor, Pullback]:
        """Logits, and the function that carries a residual back to gradients; valid for one call."""
        logits, back = torch.func.vjp(lambda weights: self.logits(weights, inputs), params)  # type: ignore[misc]
        return logits, lambda residual: back(residual)[0]
