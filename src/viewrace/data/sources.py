"""What a view looks like: one unit vector a feature, or many real digits."""

from __future__ import annotations

from functools import cache
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from viewrace.config import Data
from viewrace.errors import ViewraceError
from viewrace.streams import Stream, numpy_generator, torch_generator

__all__ = ["DigitSource", "FeatureSource", "Source", "Split", "make_source"]

Split = Literal["train", "test"]


class Source(Protocol):
    """Vectors that show a given view of a given class."""

    dictionary: Tensor
    """(class, view, dim) one unit vector a view: the feature itself, or the mean picture."""

    def show(self, feature: Tensor, split: Split, generator: torch.Generator) -> Tensor:
        """Vectors (..., dim) of norm 1 for indices `feature` = class * M + view of any shape."""
        ...

    def gallery(self, split: Split, count: int) -> Tensor:
        """(class, view, probe, dim): up to `count` fixed vectors of every view, to probe a network with."""
        ...


class FeatureSource:
    """Unit vectors with chosen cosines: `cosine_within` a class, `cosine_between` classes.

    They are Q G^(1/2), G the Gram matrix and Q a random orthonormal frame; no such vectors exist where G has a negative
    eigenvalue, and the constructor says so. With `slots` the features of view m are orthonormal and live in the m-th of M
    equal runs of coordinates, zero outside, so no two views share a coordinate.
    """

    def __init__(self, config: Data, root: int):
        generator = torch_generator(root, Stream.FEATURES)
        self.dictionary = (_slotted if config.slots else _mixed)(config, generator)

    def show(self, feature: Tensor, split: Split, generator: torch.Generator) -> Tensor:
        return self.dictionary.flatten(0, 1)[feature]

    def gallery(self, split: Split, count: int) -> Tensor:
        return self.dictionary[:, :, None, :]


def _mixed(config: Data, generator: torch.Generator) -> Tensor:
    """(class, view, dim) unit vectors with the cosines asked for, all in one space."""
    count = config.classes * config.views
    gram = _gram(config.classes, config.views, config.cosine_within, config.cosine_between)
    values, vectors = torch.linalg.eigh(gram)
    if values[0] < -1e-9:
        raise ViewraceError(
            f"no {count} unit vectors have cosine_within = {config.cosine_within:g} and cosine_between = "
            f"{config.cosine_between:g} (smallest eigenvalue {values[0]:.3g}): move them towards 0"
        )
    normal = torch.randn(config.dim, count, generator=generator, dtype=torch.float64)
    frame = torch.linalg.qr(normal).Q
    half = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return (frame @ half).T.reshape(config.classes, config.views, config.dim).float()


def _slotted(config: Data, generator: torch.Generator) -> Tensor:
    """(class, view, dim) unit vectors, orthonormal within their view's slot of coordinates."""
    slot = config.dim // config.views
    frames = torch.randn(config.views, slot, config.classes, generator=generator, dtype=torch.float64)
    dictionary = torch.zeros(config.classes, config.views, config.views, slot, dtype=torch.float64)
    for view, frame in enumerate(torch.linalg.qr(frames).Q):
        dictionary[:, view, view] = frame.T
    return dictionary.flatten(2).float()


def _gram(classes: int, views: int, within: float, between: float) -> Tensor:
    count = classes * views
    label = torch.arange(count) // views
    same = label[:, None] == label[None, :]
    gram = torch.where(same, within, between).double()
    gram.fill_diagonal_(1.0)
    return gram


class DigitSource:
    """Real pixels: view m of class y is an 8x8 digit y under view m's own fixed permutation of the pixels.

    Each image has its mean removed and unit norm. A third of the images is set aside for the test split, so what is shown
    there was never trained on.
    """

    TEST_SHARE = 1 / 3

    def __init__(self, config: Data, root: int):
        images, labels = _digits()
        shuffle = numpy_generator(root, Stream.FEATURES)
        self._permutations = torch.stack([torch.from_numpy(shuffle.permutation(images.shape[1])) for _ in range(config.views)])
        self._views = config.views
        self._pools: dict[Split, list[Tensor]] = {"train": [], "test": []}
        for label in range(config.classes):
            mine = images[labels == label]
            mine = mine[torch.from_numpy(shuffle.permutation(len(mine)))]
            held_out = round(len(mine) * self.TEST_SHARE)
            self._pools["test"].append(mine[:held_out])
            self._pools["train"].append(mine[held_out:])
        means = torch.stack([pool.mean(dim=0) for pool in self._pools["train"]])
        means = means / means.norm(dim=1, keepdim=True)
        self.dictionary = means[:, self._permutations]

    def show(self, feature: Tensor, split: Split, generator: torch.Generator) -> Tensor:
        pools = self._pools[split]
        sizes = torch.tensor([len(pool) for pool in pools])
        starts = sizes.cumsum(0) - sizes
        label, view = feature // self._views, feature % self._views
        pick = (torch.rand(feature.shape, generator=generator) * sizes[label]).long()
        chosen = torch.cat(pools)[starts[label] + pick]
        return chosen.gather(-1, self._permutations[view])

    def gallery(self, split: Split, count: int) -> Tensor:
        count = min(count, *(len(pool) for pool in self._pools[split]))
        pictures = torch.stack([pool[:count] for pool in self._pools[split]])
        return pictures[:, :, self._permutations].transpose(1, 2).contiguous()


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.data.astype(np.float32))
    images = images - images.mean(dim=1, keepdim=True)
    return images / images.norm(dim=1, keepdim=True), torch.from_numpy(bunch.target)


def make_source(config: Data, root: int) -> Source:
    """The source named by `config.source`, drawn under the root seed."""
    return DigitSource(config, root) if config.source == "digits" else FeatureSource(config, root)
