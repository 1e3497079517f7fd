"""Augmentation of image batches on tensors: random shifts and horizontal flips, from a generator of their own."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from viewrace.options import Options

__all__ = ["Augment", "augmented", "flipped", "shifted"]


class Augment(Options):
    """What is done to a training image each time it is shown; the defaults do nothing."""

    shift: int = Field(0, ge=0, description="pixels: moved by up to this much each way (black padding, random crop)")
    flip: bool = Field(False, description="mirrored left to right, every second time on average")

    @property
    def nothing(self) -> bool:
        """Whether images stay as they are."""
        return self.shift == 0 and not self.flip


def augmented(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """Images (example, channel, height, width), each moved and mirrored by its own draw."""
    if config.shift:
        images = shifted(images, config.shift, generator)
    return flipped(images, generator) if config.flip else images


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by whole pixels, uniform in [-most, most] down and across; what comes in is 0."""
    count, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, (most,) * 4)
    start = torch.randint(2 * most + 1, (2, count, 1), generator=generator).to(images.device)
    rows = start[0] + torch.arange(height, device=images.device)
    columns = start[1] + torch.arange(width, device=images.device)
    cut = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return cut.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with chance 1/2."""
    mirrored = torch.randint(2, (len(images), 1, 1, 1), generator=generator).bool().to(images.device)
    return torch.where(mirrored, images.flip(3), images)
