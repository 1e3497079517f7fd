"""The network of the composite claim: each channel, so each view, is seen by filters of its own, as large as the picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewrace.nets.activation import smoothed_relu
from viewrace.nets.module import Factory

__all__ = ["Channels", "channels_net"]

NORM = 2.8
"""What is left of a digit's 64 pixels in [0, 1] without their mean has about this norm."""


class Channels(nn.Module):
    """Logit k = sum over channels c and units r of act(<w_krc, x_c>), act AZL's smoothed ReLU of power q (1: plain ReLU).

    It is AZL's patch network with a channel in the place of a patch; no bias, so that a blank channel says nothing. Each
    channel of an image has its mean removed and is divided by the usual norm of a digit, or stays blank. Weights are drawn from
    N(0, (init rho)^2).
    """

    def __init__(self, channels: int, pixels: int, classes: int, width: int, q: int, init: float, rho: float):
        super().__init__()
        self.q, self.rho = q, rho
        self.weight = nn.Parameter(init * rho * torch.randn(channels, classes * width, pixels))
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        seen = images.flatten(2)
        seen = seen - seen.mean(dim=2, keepdim=True)
        seen = seen / NORM
        response = torch.einsum("crp,ncp->ncr", self.weight, seen)
        return smoothed_relu(response, self.q, self.rho).sum(dim=1).unflatten(1, (self.classes, -1)).sum(dim=2)


def channels_net(shape: tuple[int, int, int], classes: int, width: int, q: int, init: float, rho: float) -> Factory:
    """A factory of `Channels` for images of shape (channel, height, width)."""
    return lambda: Channels(shape[0], shape[1] * shape[2], classes, width, q, init, rho)
