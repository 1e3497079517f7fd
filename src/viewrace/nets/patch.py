"""AZL's patch network, with a closed-form backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viewrace.nets.activation import smoothed_relu, smoothed_relu_parts
from viewrace.nets.family import Family, Params, Pullback

__all__ = ["PatchNet"]


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
        return 4 * self.classes * self.width * examples * self.patches

    def logits(self, params: Params, inputs: Tensor) -> Tensor:
        return self._forward(params["weight"], _columns(inputs), len(inputs))[0]

    def pullback(self, params: Params, inputs: Tensor) -> tuple[Tensor, Pullback]:
        """Closed form: dLoss/dw_{i,r} = sum over examples and patches of residual_i act'(<w_{i,r}, x_p>) x_p."""
        weight, columns = params["weight"], _columns(inputs)
        logits, slope = self._forward(weight, columns, len(inputs))

        def back(residual: Tensor) -> Params:
            slope.mul_(residual.transpose(1, 2).contiguous()[:, :, None, :])
            return {"weight": (slope.view(-1, len(columns)) @ columns).view_as(weight)}

        return logits, back

    def _forward(self, weight: Tensor, columns: Tensor, examples: int) -> tuple[Tensor, Tensor]:
        seeds = len(weight)
        scaled = (weight / self.rho).view(-1, self.dim) @ columns.T
        value, slope = smoothed_relu_parts(scaled, self.q)
        shape = (seeds, self.classes, -1, examples)
        logits = value.view(shape).sum(dim=2).mul_(self.rho).transpose(1, 2).contiguous()
        return logits, slope.view(shape)

    def view_correlation(self, params: Params, features: Tensor) -> Tensor:
        """(seed, class, view): max over a class's neurons of <w_{i,r}, v_{i,l}>, what the race is run in.

        `features` is (class, view, dim). Source: AZL, Lambda in the section on the lottery-winning set.
        """
        return torch.einsum("skmd,kld->sklm", params["weight"], features.to(params["weight"].dtype)).amax(dim=3)


def _columns(inputs: Tensor) -> Tensor:
    """(patch x example, dim), patches outermost: sums over neurons and patches then run along contiguous examples."""
    return inputs.transpose(0, 1).reshape(-1, inputs.shape[-1])
