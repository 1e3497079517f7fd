"""From a name to a factory of networks for images of a given shape."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial

from viewrace.errors import ViewraceError
from viewrace.nets.images.conv import conv_net
from viewrace.nets.images.resnet import resnet, wide_resnet_16_2
from viewrace.nets.images.sides import Size
from viewrace.nets.images.transformer import vision_transformer
from viewrace.nets.module import Factory, import_factory

__all__ = ["IMAGE_NETS", "image_net"]

IMAGE_NETS: Mapping[str, Callable[[int, Size, int], Factory]] = {
    "conv": conv_net,
    "resnet8": partial(resnet, depth=8),
    "resnet20": partial(resnet, depth=20),
    "wrn16-2": wide_resnet_16_2,
    "vit": vision_transformer,
}
"""Factories by name, for (channels, size, classes)."""


def image_net(name: str, shape: tuple[int, int, int], classes: int) -> Factory:
    """A factory for images of shape (channel, height, width): one of `IMAGE_NETS`, or the user's own, `package.module:name`."""
    if ":" in name:
        return import_factory(name)
    if name not in IMAGE_NETS:
        near = difflib.get_close_matches(name, IMAGE_NETS, n=1, cutoff=0.0)[0]
        raise ViewraceError(f"unknown network {name!r}, the nearest known one is {near}: name it or give package.module:name")
    return IMAGE_NETS[name](shape[0], shape[1:], classes)
