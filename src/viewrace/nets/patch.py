"""AZL's patch network, with a closed-form backward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from viewrace.nets.activation import smoothed_relu
from viewrace.nets.family import Family, Params, Pullback
from viewrace.nets.kernels import Kernel, find_kernel
from viewrace.nets.tiles import Tiles, product_format, tiled

__all__ = ["PatchNet"]

LANES = 16
"""Examples are padded to a multiple of this, so that no vector of a kernel crosses from one line to the next."""


class PatchNet(Family):
    """f_i(X) = sum over patches p and neurons r of act(<w_{i,r}, x_p>), i = 1..K (AZL, section 2).

    weight: (seed, class, neuron, dim), drawn from N(0, (init rho)^2). The second layer is fixed at 1.
    """

    name = "patch"

    def __init__(self, classes: int, dim: int, patches: int, width: int, q: int, rho: float, init: float):
        self.classes, self.dim, self.patches, self.width = classes, dim, patches, width
        self.q, self.rho, self.init_scale = q, rho, init

    def init(self, generators: Sequence[torch.Generator]) -> Params:
        shape = (self.classes, self.width, self.dim)
        draws = [torch.randn(shape, generator=generator) for generator in generators]
        return {"weight": torch.stack(draws) * (self.init_scale * self.rho)}

    def apply(self, params: Params, inputs: Tensor) -> Tensor:
        response = torch.einsum("kmd,npd->nkmp", params["weight"], inputs)
        return smoothed_relu(response, self.q, self.rho).sum(dim=(2, 3))

    def activations(self, examples: int) -> int:
        return 2 * self.classes * self.width * examples * self.patches

    def prepare(self, inputs: Tensor) -> Columns:
        return Columns.of(inputs, self.rho)

    def logits(self, params: Params, inputs: Tensor | Columns) -> Tensor:
        weight, columns = params["weight"], Columns.of(inputs, self.rho)
        return columns.tiles.logits(weight, self.q, self.rho).mT if tiled(weight) else self._forward(weight, columns)[0]

    def pullback(self, params: Params, inputs: Tensor | Columns) -> tuple[Tensor, Pullback]:
        """Closed form: dLoss/dw_{i,r} = sum over examples and patches of residual_i act'(<w_{i,r}, x_p>) x_p."""
        weight, columns = params["weight"], Columns.of(inputs, self.rho)
        if tiled(weight):
            gradient = partial(columns.tiles.gradient, weight, q=self.q, rho=self.rho)
            return columns.tiles.logits(weight, self.q, self.rho).mT, lambda residual: {"weight": gradient(residual.mT)}
        logits, kept, kernel = self._forward(weight, columns)

        def back(residual: Tensor) -> Params:
            weighed = kernel.weigh(kept, residual.mT.flatten(0, 1), self.q)
            return {"weight": (weighed.view(-1, len(columns.rows)) @ columns.rows).view_as(weight)}

        return logits, back

    def _forward(self, weight: Tensor, columns: Columns) -> tuple[Tensor, Tensor, Kernel]:
        """Logits, (seed, example, class) in shape and class by class in memory; and what the way back needs."""
        kernel = find_kernel(self.q, weight)
        scaled = columns.responses(weight.reshape(-1, self.dim))
        rows = scaled.view(len(weight) * self.classes, -1, columns.places)
        logits, kept = kernel.respond(rows, columns.examples, self.q, self.rho)
        return logits.view(len(weight), self.classes, -1).mT, kept, kernel

    def view_correlation(self, params: Params, features: Tensor) -> Tensor:
        """(seed, class, view): max over a class's neurons of <w_{i,r}, v_{i,l}>, what the race is run in.

        `features` is (class, view, dim). Source: AZL, Lambda in the section on the lottery-winning set.
        """
        return torch.einsum("skmd,kld->sklm", params["weight"], features.to(params["weight"])).amax(dim=3)


class Columns:
    """Inputs as the two matrix products read them: patches outermost, each with `places` >= `examples` places, the rest 0; on a
    CUDA device in bf16 where torch's precision of float32 products allows it.

    rows: (patch x place, dim); columns: (dim, patch x place), the same numbers over rho, contiguous too. Memory for responses is
    kept from one product to the next: to get it from the system anew takes as long as to fill it.
    """

    def __init__(self, inputs: Tensor, rho: float):
        """From inputs (example, patch, dim)."""
        self.examples, patches, dim = inputs.shape
        self.places = -(-self.examples // LANES) * LANES
        padded = inputs.new_zeros(patches, self.places, dim, dtype=product_format(inputs))
        padded[:, : self.examples] = inputs.transpose(0, 1)
        self.rows = padded.view(-1, dim)
        self.columns = self.rows.T.contiguous() / rho
        self._room = padded.new_empty(0)

    @cached_property
    def tiles(self) -> Tiles:
        """The same inputs for networks on a CUDA device."""
        return Tiles(self.rows, self.places, self.examples)

    @classmethod
    def of(cls, inputs: Tensor | Columns, rho: float) -> Columns:
        return inputs if isinstance(inputs, Columns) else cls(inputs, rho)

    def responses(self, weight: Tensor) -> Tensor:
        """(neuron, patch x place) products of weight (neuron, dim) with every patch over rho, until the next call."""
        size = len(weight) * len(self.rows)
        if len(self._room) < size:
            self._room = self.rows.new_empty(size)
        return torch.mm(weight, self.columns, out=self._room[:size].view(len(weight), -1))
