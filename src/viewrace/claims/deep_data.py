"""The images of the deep claims: digits, CIFAR-10 where it is at hand, and composite images, with how networks are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from viewrace.claims.base import Scale
from viewrace.config import Settings
from viewrace.data.composite import CompositeConfig, Composites
from viewrace.data.images import ImageSet, Split, load_images
from viewrace.nets.images import conv_net
from viewrace.nets.module import Factory
from viewrace.streams import Stream, numpy_generator, torch_generator
from viewrace.train.members import MemberConfig

__all__ = [
    "CIFAR",
    "COMPOSITE",
    "DIGITS",
    "EPOCHS",
    "MU",
    "SETS",
    "WIDTH",
    "DeepSet",
    "deep_set",
    "digit_pools",
    "experiment_root",
    "left_out",
]

SETS = ("digits", "cifar10", "composite")
WIDTH = 16
DIGITS = {Scale.SMOKE: 300, Scale.QUICK: 300, Scale.FULL: 1200}
COMPOSITE = {Scale.SMOKE: 300, Scale.QUICK: 600, Scale.FULL: 2000}
CIFAR: dict[Scale, tuple[int | None, int | None]] = {
    Scale.SMOKE: (500, 500),
    Scale.QUICK: (1000, 2000),
    Scale.FULL: (None, None),
}
"""Training and test images of an experiment; None: all there are."""
POOL = 10
"""Below full, an experiment draws its images of CIFAR-10 from a pool this many times as large."""
EPOCHS = {
    "digits": {Scale.SMOKE: 10, Scale.QUICK: 30, Scale.FULL: 30},
    "cifar10": {Scale.SMOKE: 3, Scale.QUICK: 15, Scale.FULL: 40},
    "composite": {Scale.SMOKE: 10, Scale.QUICK: 20, Scale.FULL: 30},
}
MU = 0.1
VIEWS = 3


@dataclass(frozen=True)
class DeepSet:
    """Images of one experiment, and how a network learns them."""

    train: ImageSet
    test: ImageSet
    factory: Factory
    config: MemberConfig


def experiment_root(root: int, experiment: int) -> int:
    """The root seed of one experiment under the run's: its images, inits and orders are its own."""
    return int(numpy_generator(root, Stream.FEATURES, experiment).integers(2**31))


def left_out(settings: Settings) -> str | None:
    """Why CIFAR-10 is left out; None where its source is named. One that cannot be read is an error, before any training."""
    if settings.images.cifar10 is None:
        return "CIFAR-10 is left out: name its source with --set images.cifar10=parquet:DIR or cifar10:DIR"
    load_images(settings.images.cifar10, "test", 1)
    return None


def deep_set(name: str, scale: Scale, settings: Settings, root: int) -> DeepSet:
    """The images of one experiment. root: see `experiment_root`."""
    train, test = _MAKERS[name](scale, settings, root)
    config = MemberConfig(
        epochs=EPOCHS[name][scale],
        batch=50,
        rate=0.1,
        augment={"shift": 4, "flip": True} if name == "cifar10" and scale is Scale.FULL else {},
        engine="loop" if name == "cifar10" else "batched",
        device=settings.train.device,
    )
    return DeepSet(
        train, test, conv_net(train.shape[0], train.shape[1:], len(train.classes), WIDTH, average=name == "digits"), config
    )


def digit_pools(root: int, examples: int) -> tuple[ImageSet, ImageSet]:
    """All digits, cut at random into `examples` training images and the rest."""
    both = [load_images("digits", split) for split in ("train", "test")]
    images, labels = (torch.cat([getattr(part, name) for part in both]) for name in ("images", "labels"))
    order = torch.randperm(len(labels), generator=torch_generator(root, Stream.FEATURES))
    every = ImageSet(images[order], labels[order], both[0].classes)
    return every.take(slice(0, examples)), every.take(slice(examples, None))


def _digits(scale: Scale, settings: Settings, root: int) -> tuple[ImageSet, ImageSet]:
    return digit_pools(root, DIGITS[scale])


def _composite(scale: Scale, settings: Settings, root: int) -> tuple[ImageSet, ImageSet]:
    """Three digits of a class as channels, a tenth of the training images single-view; tested on single-view images."""
    pools = digit_pools(root, DIGITS[Scale.FULL])
    config = CompositeConfig(views=VIEWS, mu=MU, examples=COMPOSITE[scale], test_examples=2000)
    made = Composites(*pools, config, root)
    return made.train().as_images(), made.test_single().as_images()


def _cifar(scale: Scale, settings: Settings, root: int) -> tuple[ImageSet, ImageSet]:
    return _part("train", 0, scale, settings, root), _part("test", 1, scale, settings, root)


def _part(split: Split, index: int, scale: Scale, settings: Settings, root: int) -> ImageSet:
    count, source = CIFAR[scale][index], settings.images.cifar10
    assert source is not None
    if count is None:
        return load_images(source, split)
    pool = _pool(source, split, POOL * count)
    order = torch.randperm(len(pool), generator=torch_generator(root, Stream.FEATURES, index))
    return pool.take(order[:count])


@cache
def _pool(spec: str, split: Split, limit: int) -> ImageSet:
    """Images at half their height and width."""
    found = load_images(spec, split, limit)
    return ImageSet(_halved(found.images), found.labels, found.classes)


def _halved(images: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images, 2)


_MAKERS: dict[str, Callable[[Scale, Settings, int], tuple[ImageSet, ImageSet]]] = {
    "digits": _digits,
    "cifar10": _cifar,
    "composite": _composite,
}
