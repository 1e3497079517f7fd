"""A plain convolutional network."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from viewrace.nets.images.sides import Size, sides

__all__ = ["ConvNet", "conv_net"]


class ConvNet(nn.Module):
    """Two 3x3 convolutions with batch norm, ReLU and 2x2 max pooling, an average over what is left, a linear read-out.

    Images (example, channel, height, width) of any size from 4x4 to logits (example, class); `width` channels, then twice that.
    """

    def __init__(self, in_channels: int, classes: int, width: int = 16):
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in ((in_channels, width), (width, 2 * width)):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False), nn.BatchNorm2d(fan_out), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean(dim=(2, 3)))


def conv_net(in_channels: int, size: Size, classes: int, width: int = 16) -> Callable[[], ConvNet]:
    """A factory of `ConvNet`, for images of 4x4 or more."""
    sides(size, 4)
    return lambda: ConvNet(in_channels, classes, width)
