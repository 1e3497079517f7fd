"""Images with their labels, checked once: what every reader gives and every trainer of image networks takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viewrace.errors import ViewraceError

__all__ = ["ImageSet", "check_split"]


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one shape.

    images: (example, channel, height, width) float32 in [0, 1]. labels: (example,) int64, an index into `classes`, the names.
    Raises ViewraceError where there is no example, where a number is not finite or outside [0, 1], or a label names no class.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        self._check_images()
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ViewraceError(
                f"labels must be int64, one for each of the {len(self.images)} images, received {self.labels.dtype} of shape "
                f"{tuple(self.labels.shape)}: give as many labels as images"
            )
        if len(self.classes) < 2:
            raise ViewraceError(f"images must be of two classes or more, received {len(self.classes)}: give another data set")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise ViewraceError(
                f"labels must lie in 0..{len(self.classes) - 1}, one of {len(self.classes)} classes, received {low}..{high}: "
                "mend the labels or name every class"
            )

    def _check_images(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.float32:
            raise ViewraceError(
                "images must be float32 (example, channel, height, width), received "
                f"{self.images.dtype} of shape {tuple(self.images.shape)}: convert them"
            )
        if not self.images.numel():
            raise ViewraceError(f"there must be one image or more, received shape {tuple(self.images.shape)}: give other data")
        low, high = (float(bound) for bound in self.images.aminmax())
        if not 0 <= low <= high <= 1:
            bad = (~((self.images >= 0) & (self.images <= 1))).flatten(1).any(dim=1).nonzero()[0].item()
            raise ViewraceError(
                f"pixels must be finite numbers in [0, 1], received {low:g} to {high:g} (image {bad} is the first that is not): "
                "scale or mend the images"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, height, width) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def take(self, examples: Tensor | slice) -> ImageSet:
        """The images `examples` alone."""
        return ImageSet(self.images[examples], self.labels[examples], self.classes)


def check_split(train: ImageSet, test: ImageSet) -> None:
    """Refuse a test set of another shape or other classes than the training set, or where a class has no image in one."""
    if train.shape != test.shape or train.classes != test.classes:
        raise ViewraceError(
            "training and test images must have one shape and the same classes, received "
            f"{train.shape} of {len(train.classes)} classes and {test.shape} of {len(test.classes)}: use one source"
        )
    for name, part in (("training", train), ("test", test)):
        counts = torch.bincount(part.labels, minlength=len(part.classes))
        if (counts == 0).any():
            absent = part.classes[int((counts == 0).nonzero()[0])]
            raise ViewraceError(
                f"every class must have an image in the {name} set, received none of {absent!r}: add some, or raise the limit"
            )
