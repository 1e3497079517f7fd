"""Encoded pictures (JPEG, PNG and the like) to tensors of one shape."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from viewrace.errors import ViewraceError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["decode", "needed", "picture", "stacked"]

GRAY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV", "PA", "RGBX")


def needed(load: Callable[[], Any], package: str) -> Any:
    """What `load` imports, or one line that says how to install it."""
    try:
        return load()
    except ImportError:
        raise ViewraceError(f"reading these images needs {package}: pip install 'viewrace[images]'") from None


def decode(files: Iterable[tuple[str, Path | bytes]], size: int | None) -> Tensor:
    """(example, channel, height, width) in [0, 1] from named files or their bytes; size: see `picture`."""
    return stacked((name, _opened(name, content, size)) for name, content in files)


def _opened(name: str, content: Path | bytes, size: int | None) -> np.ndarray:
    image = needed(lambda: __import__("PIL.Image").Image, "pillow")
    try:
        with image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as opened:
            return picture(opened, name, size)
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ViewraceError(f"cannot read image {name} ({reason}): mend it or take it out") from None


def picture(opened: Image, name: str, size: int | None = None) -> np.ndarray:
    """(channel, height, width) uint8, one channel for a gray picture, else three; transparency is left out.

    size: the middle square, made size x size; none: the picture as it is.
    """
    if opened.mode not in (*GRAY, *COLOUR):
        raise ViewraceError(f"image {name} must have 8 bits a channel, received mode {opened.mode}: convert it")
    opened = opened.convert("L" if opened.mode in GRAY else "RGB")
    if size is not None and opened.size != (size, size):
        short = min(opened.size)
        left, top = (opened.width - short) // 2, (opened.height - short) // 2
        opened = opened.crop((left, top, left + short, top + short)).resize((size, size), resample=2)
    pixels = np.asarray(opened)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def stacked(pictures: Iterable[tuple[str, np.ndarray]]) -> Tensor:
    """Named uint8 pictures as one float32 tensor in [0, 1]; gray ones get three channels where another has colour."""
    named = list(pictures)
    channels = max(pixels.shape[0] for _, pixels in named)
    first, height, width = named[0][0], *named[0][1].shape[1:]
    images = torch.empty(len(named), channels, height, width)
    for row, (name, pixels) in enumerate(named):
        if pixels.shape[1:] != (height, width):
            raise ViewraceError(
                f"images must have one size, received {height}x{width} ({first}) and {pixels.shape[1]}x{pixels.shape[2]} "
                f"({name}): add @SIZE to the source, for example @32, to have them cut and scaled"
            )
        images[row] = torch.from_numpy(pixels.astype(np.float32) / 255)
    return images
