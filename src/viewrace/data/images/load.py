"""From a spec such as `cifar10:DIR` to images: one reader for each kind of source."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from viewrace.data.images.imageset import ImageSet
from viewrace.data.images.stored import Split, Stored, split_rows
from viewrace.errors import ViewraceError

__all__ = ["load_images"]


def load_images(spec: str, split: Split, limit: int | None = None) -> ImageSet:
    """Images of `digits`."""
    kind, _, _ = spec.partition(":")
    if kind != "digits":
        raise ViewraceError(f"unknown source of images {spec!r}: give digits")
    stored = _digits()
    return stored.read(limit, split_rows(stored.labels, split))


@cache
def _digits() -> Stored:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.float32) / 16)[:, None]

    def pixels(rows: np.ndarray) -> Tensor:
        return images[torch.from_numpy(rows)]

    return Stored(bunch.target, tuple(str(name) for name in bunch.target_names), pixels)
