"""Residual networks for small images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from viewrace.errors import ViewraceError
from viewrace.nets.images.sides import Size, sides

__all__ = ["ResNet", "WideResNet", "resnet", "wide_resnet_16_2"]


def _conv(fan_in: int, fan_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, 3, stride=stride, padding=1, bias=False)


def _he_normal(module: nn.Module) -> None:
    """He's init for every convolution: N(0, 2 / fan_out)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class _Block(nn.Module):
    """relu(x + BN conv relu BN conv x); where the shape changes, x is subsampled and filled up with zero channels."""

    def __init__(self, fan_in: int, fan_out: int, stride: int):
        super().__init__()
        self.stride, self.fill = stride, fan_out - fan_in
        self.body = nn.Sequential(
            _conv(fan_in, fan_out, stride), nn.BatchNorm2d(fan_out), nn.ReLU(), _conv(fan_out, fan_out), nn.BatchNorm2d(fan_out)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        short = inputs
        if self.fill or self.stride > 1:
            short = nn.functional.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.fill))
        return torch.relu(short + self.body(inputs))


class ResNet(nn.Module):
    """ResNet of depth 6n + 2 for small images (He et al. 2016, section 4.2): n blocks each of width, 2 width and 4 width.

    Shortcuts have no weights (their option A). Images (example, channel, height, width) to logits (example, class).
    """

    def __init__(self, in_channels: int, classes: int, depth: int = 8, width: int = 16):
        super().__init__()
        blocks, now = [], width
        for stage in range(3):
            for index in range((depth - 2) // 6):
                blocks.append(_Block(now, width << stage, 2 if stage and not index else 1))
                now = width << stage
        self.body = nn.Sequential(_conv(in_channels, width), nn.BatchNorm2d(width), nn.ReLU(), *blocks)
        self.head = nn.Linear(now, classes)
        _he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean(dim=(2, 3)))


class _WideBlock(nn.Module):
    """Pre-activated: x + conv relu BN conv relu BN x, with dropout before the second convolution; where the shape changes, the
    shortcut is a 1x1 convolution of what the first one sees."""

    def __init__(self, fan_in: int, fan_out: int, stride: int, dropout: float):
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(fan_in), nn.ReLU())
        drop = [nn.Dropout(dropout)] if dropout else []
        self.body = nn.Sequential(
            _conv(fan_in, fan_out, stride), nn.BatchNorm2d(fan_out), nn.ReLU(), *drop, _conv(fan_out, fan_out)
        )
        self.short = None if fan_in == fan_out else nn.Conv2d(fan_in, fan_out, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.before(inputs)
        return self.body(seen) + (inputs if self.short is None else self.short(seen))


class WideResNet(nn.Module):
    """Wide residual network of depth 6n + 4 (Zagoruyko & Komodakis 2016): n blocks each of 16, 32 and 64 times `widen`.

    Images (example, channel, height, width) to logits (example, class).
    """

    def __init__(self, in_channels: int, classes: int, depth: int = 16, widen: int = 2, dropout: float = 0.0):
        super().__init__()
        blocks, now = [], 16
        for stage in range(3):
            for index in range((depth - 4) // 6):
                blocks.append(_WideBlock(now, (16 << stage) * widen, 2 if stage and not index else 1, dropout))
                now = (16 << stage) * widen
        self.body = nn.Sequential(_conv(in_channels, 16), *blocks, nn.BatchNorm2d(now), nn.ReLU())
        self.head = nn.Linear(now, classes)
        _he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean(dim=(2, 3)))


def resnet(in_channels: int, size: Size, classes: int, depth: int = 8, width: int = 16) -> Callable[[], ResNet]:
    """A factory of `ResNet` of 8, 14, 20, .. layers, for images of 4x4 or more."""
    sides(size, 4)
    if depth < 8 or (depth - 2) % 6:
        raise ViewraceError(f"the depth of a ResNet must be 6n + 2 (8, 14, 20, ..), received {depth}: take one of these")
    return lambda: ResNet(in_channels, classes, depth, width)


def wide_resnet_16_2(in_channels: int, size: Size, classes: int, dropout: float = 0.0) -> Callable[[], WideResNet]:
    """A factory of the `WideResNet` of 16 layers, twice as wide, for images of 4x4 or more."""
    sides(size, 4)
    return lambda: WideResNet(in_channels, classes, dropout=dropout)
