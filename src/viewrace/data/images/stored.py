"""What a reader finds before any picture is decoded: the labels, the names of the classes, and how to get the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from viewrace.data.images.imageset import ImageSet
from viewrace.errors import ViewraceError

__all__ = ["Split", "Stored", "split_rows"]

Split = Literal["train", "test"]
TEST_EVERY = 3
"""A source without a split of its own gives every third image of each class to the test set."""


@dataclass(frozen=True)
class Stored:
    """Labels (example,) of all images, class names, and `pixels(rows)` -> (row, channel, height, width) float32 in [0, 1]."""

    labels: np.ndarray
    classes: tuple[str, ...]
    pixels: Callable[[np.ndarray], Tensor]

    def read(self, rows: np.ndarray, limit: int | None) -> ImageSet:
        """The images `rows`, or `limit` of them with the classes as even as can be, in the order they are stored in."""
        if limit is not None and limit < len(rows):
            rank = _rank_in_class(self.labels[rows])
            rows = rows[np.sort(np.lexsort((np.arange(len(rows)), rank))[:limit])]
        if not len(rows):
            raise ViewraceError("the data must hold one image or more, received none: give another source or split")
        return ImageSet(self.pixels(rows), torch.from_numpy(self.labels[rows].astype(np.int64)), self.classes)


def split_rows(labels: np.ndarray, split: Split) -> np.ndarray:
    """The rows of one split of a source that has none: the last of every three images of a class are the test set."""
    test = _rank_in_class(labels) % TEST_EVERY == TEST_EVERY - 1
    return np.flatnonzero(test if split == "test" else ~test)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """(example,) how many examples of the same class stand before each."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        rank[mine] = np.arange(len(mine))
    return rank
