"""From a spec such as `cifar10:DIR` to images: one reader for each kind of source."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from viewrace.data.images.arrays import read_arrays
from viewrace.data.images.cifar import read_cifar
from viewrace.data.images.folder import read_folder
from viewrace.data.images.imageset import ImageSet
from viewrace.data.images.parquet import read_parquet
from viewrace.data.images.stored import Split, Stored, split_rows
from viewrace.errors import ViewraceError

__all__ = ["SOURCES", "load_images"]

SOURCES = {
    "digits": "digits",
    "cifar10": "cifar10:DIR",
    "cifar100": "cifar100:DIR",
    "parquet": "parquet:FILE-or-DIR",
    "folder": "folder:DIR",
    "arrays": "arrays:FILE",
}


def load_images(spec: str, split: Split, limit: int | None = None) -> ImageSet:
    """The images of one split of a source.

    spec: `digits` (scikit-learn's 8x8 digits, no download); `cifar10:DIR` or `cifar100:DIR` (the folder of pickled batches, or
    its tar file); `parquet:FILE-or-DIR`; `folder:DIR` (a folder of pictures for each class); `arrays:FILE` (.npz or
    .safetensors). `@SIZE` after a Parquet file or a folder cuts the middle square and scales it to SIZE x SIZE. A source without
    a split of its own gives every third image of each class to the test set. limit: at most so many images, the classes as even
    as can be. Raises ViewraceError with one line where the source cannot be read.
    """
    if split not in ("train", "test"):
        raise ViewraceError(f"a split is train or test, received {split!r}: name one of them")
    if limit is not None and limit < 1:
        raise ViewraceError(f"the limit must be 1 or more images, received {limit}: raise it or leave it out")
    kind, _, place = spec.partition(":")
    if kind not in SOURCES or bool(place) == (kind == "digits"):
        near = difflib.get_close_matches(kind, SOURCES, n=1, cutoff=0.6)
        hint = f"for example {SOURCES[near[0]]}, out of" if near else "one of"
        raise ViewraceError(f"unknown source of images {spec!r}: give {hint} {', '.join(SOURCES.values())}")
    stored, rows = _open(kind, place, split)
    return stored.read(rows, limit)


def _open(kind: str, place: str, split: Split) -> tuple[Stored, np.ndarray]:
    sized = re.fullmatch(r"(.+)@([1-9]\d{0,3})", place)
    path, size = (Path(sized[1]), int(sized[2])) if sized else (Path(place), None)
    if kind == "folder":
        return read_folder(path, split, size)
    if kind == "parquet":
        return read_parquet(path, split, size)
    if kind == "arrays":
        return read_arrays(Path(place), split)
    if kind == "digits":
        return _digits(), split_rows(_digits().labels, split)
    stored = read_cifar("cifar10" if kind == "cifar10" else "cifar100", Path(place), split)
    return stored, np.arange(len(stored.labels))


@cache
def _digits() -> Stored:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.float32) / 16)[:, None]

    def pixels(rows: np.ndarray) -> Tensor:
        return images[torch.from_numpy(rows)]

    return Stored(bunch.target, tuple(str(name) for name in bunch.target_names), pixels)
