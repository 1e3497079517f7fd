"""Images and labels as arrays: in NumPy's npz files, in safetensors, or as they are."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import torch
from torch import Tensor

from viewrace.data.images.stored import Split, Stored, split_rows
from viewrace.errors import ViewraceError

__all__ = ["read_arrays", "to_images"]

IMAGES, LABELS = ("images", "x"), ("labels", "y")


def read_arrays(path: Path, split: Split) -> tuple[Stored, np.ndarray]:
    """The rows of one split of a file of arrays.

    `images` and `labels` (or `x` and `y`) hold everything and are split by `split_rows`; `train_images`, `test_labels` and so
    on (or `x_train`) are splits of their own. `classes` holds names (npz: an array of them; safetensors: a JSON list in the
    metadata); without it they are numbers.
    """
    arrays, classes = _open(path)
    ready = _find(arrays, IMAGES, split)
    images, labels = ready or _find(arrays, IMAGES, ""), _find(arrays, LABELS, split if ready else "")
    if images is None or labels is None:
        raise ViewraceError(
            f"{path} must hold images and labels, or {split}_images and {split}_labels, received {', '.join(sorted(arrays))}: "
            "rename them"
        )
    kept = np.squeeze(arrays[labels], axis=1) if arrays[labels].ndim == 2 and arrays[labels].shape[1] == 1 else arrays[labels]
    if kept.ndim != 1 or kept.dtype.kind not in "iu" or len(kept) != len(arrays[images]):
        raise ViewraceError(
            f"{labels} of {path} must be whole numbers, one for each of {len(arrays[images])} images, received {kept.dtype} of "
            f"shape {kept.shape}: mend them"
        )
    pixels = to_images(arrays[images], f"{images} of {path}")
    every = [arrays[name] for name in arrays if _is(name, LABELS)]
    names = classes or tuple(str(index) for index in range(max(int(array.max(initial=-1)) for array in every) + 1))
    rows = np.arange(len(kept)) if ready else split_rows(kept, split)
    return Stored(kept.astype(np.int64), names, lambda chosen: pixels(torch.from_numpy(chosen))), rows


class _Pixels:
    """Images of an array, made float32 in [0, 1] when asked for."""

    def __init__(self, array: Tensor):
        self.array = array

    def __call__(self, rows: Tensor) -> Tensor:
        chosen = self.array[rows]
        return chosen.float().div_(255) if chosen.dtype == torch.uint8 else chosen.float()


def to_images(array: np.ndarray, name: str) -> _Pixels:
    """Images (example, height, width), (.., channel, height, width) or (.., height, width, channel): uint8, or floats in [0, 1].

    The channel is last where that axis has 1 or 3 entries and the second has not.
    """
    if array.ndim not in (3, 4) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise ViewraceError(
            f"{name} must be uint8, or floats in [0, 1], of shape (example, channel, height, width), received {array.dtype} of "
            f"shape {array.shape}: convert them"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[3] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    return _Pixels(torch.from_numpy(np.ascontiguousarray(array)))


def _open(path: Path) -> tuple[Mapping[str, np.ndarray], tuple[str, ...]]:
    if not path.is_file():
        raise ViewraceError(f"there is no file {path}: give an .npz or a .safetensors file")
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
                return arrays, tuple(json.loads((file.metadata() or {}).get("classes", "[]")))
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
            return arrays, tuple(str(name) for name in arrays.pop("classes", ()))
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, safetensors.SafetensorError):
        raise ViewraceError(f"{path} is damaged or holds more than plain arrays: write it with np.savez or safetensors") from None


def _is(name: str, words: tuple[str, ...]) -> bool:
    return any(name in (word, f"train_{word}", f"test_{word}", f"{word}_train", f"{word}_test") for word in words)


def _find(arrays: Mapping[str, np.ndarray], words: tuple[str, ...], split: str) -> str | None:
    asked = [name for word in words for name in ((f"{split}_{word}", f"{word}_{split}") if split else (word,))]
    return next((name for name in asked if name in arrays), None)
