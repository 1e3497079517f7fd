"""AZL's smoothed ReLU."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["power", "smoothed_relu", "smoothed_relu_parts"]


def power(base: Tensor, exponent: int) -> Tensor:
    """base^exponent for exponent >= 1 by repeated products, several times faster than torch.pow."""
    result = base
    for _ in range(exponent - 1):
        result = result * base
    return result


def smoothed_relu_parts(scaled: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """act(z) / rho and act'(z) of the smoothed ReLU at `scaled` = z / rho.

    act is 0 for z <= 0, z^q / (q rho^(q-1)) for 0 <= z <= rho, z - (1 - 1/q) rho beyond (AZL, section 2). With
    u = clamp(z / rho, 0, 1): act' = u^(q-1), act / rho = u^q / q + max(z / rho - 1, 0). q = 1 is plain ReLU.
    """
    if q == 1:
        return scaled.clamp(min=0), (scaled > 0).to(scaled.dtype)
    unit = scaled.clamp(0, 1)
    slope = power(unit, q - 1)
    value = (unit * slope).div_(q)
    # "not <=" rather than ">": a NaN among the seeds must not take the linear part from the others
    if scaled.numel() and not scaled.amax() <= 1:
        value += (scaled - 1).clamp_(min=0)
    return value, slope


def smoothed_relu(z: Tensor, q: int, rho: float) -> Tensor:
    """The smoothed ReLU itself, written for autograd and vmap: no branch on values, no operation in place."""
    if q == 1:
        return torch.relu(z)
    scaled = z / rho
    return rho * (power(scaled.clamp(0, 1), q) / q + torch.relu(scaled - 1))
