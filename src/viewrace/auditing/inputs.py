"""What an audit takes: logits and labels, checked, and read from files without executing anything in them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from viewrace.errors import ViewraceError

__all__ = ["FEWEST_EXAMPLES", "checked", "read_logits"]

FEWEST_EXAMPLES = 40
KINDS = (".npz", ".safetensors")


def checked(logits: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    """Logits (member, example, class) as float64 and labels (example,) as int64, or one line about what is wrong."""
    scores, truth = np.asarray(logits), np.asarray(labels)
    if scores.ndim != 3 or not np.issubdtype(scores.dtype, np.floating):
        raise ViewraceError(
            f"logits must be floats (member, example, class), received {scores.dtype} of shape {scores.shape}: stack the "
            "members' logits"
        )
    members, examples, classes = scores.shape
    if members < 2 or classes < 2:
        raise ViewraceError(f"an audit needs 2 members and 2 classes or more, received {members} and {classes}: give more")
    if truth.shape != (examples,) or not np.issubdtype(truth.dtype, np.integer):
        raise ViewraceError(
            f"labels must be integers, one for each of the {examples} examples, received {truth.dtype} of shape "
            f"{truth.shape}: give those of the examples that the logits are of"
        )
    if examples < FEWEST_EXAMPLES:
        raise ViewraceError(f"an audit needs {FEWEST_EXAMPLES} test examples or more, received {examples}: give more")
    _check_numbers(scores)
    _check_labels(truth, classes)
    return torch.from_numpy(scores.astype(np.float64)), torch.from_numpy(truth.astype(np.int64))


def _check_numbers(scores: NDArray[Any]) -> None:
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        member, example, _ = bad[0]
        raise ViewraceError(
            f"logits must be finite, received {scores[tuple(bad[0])]:g} (member {member}, example {example} is the first of "
            f"{len(bad)}): leave out members that diverged"
        )


def _check_labels(truth: NDArray[Any], classes: int) -> None:
    low, high = int(truth.min()), int(truth.max())
    if low < 0 or high >= classes:
        raise ViewraceError(
            f"labels must lie in 0..{classes - 1}, one of the {classes} logits, received {low}..{high}: mend the labels"
        )
    absent = np.flatnonzero(np.bincount(truth, minlength=classes) == 0)
    if len(absent):
        raise ViewraceError(
            f"every class must have a test example, received none of class {absent[0]} ({len(absent)} of {classes} missing): "
            "add some, or take the class out of the logits"
        )


def read_logits(paths: Sequence[Path]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits (member, example, class) and labels from .npz or .safetensors files, each with `logits` of one member (example,
    class) or of several (member, example, class); `labels` (example,) in at least one of them, the same in all."""
    if not paths:
        raise ViewraceError("no file of logits was named: give --logits FILE for one file or more")
    found = [_read(path) for path in paths]
    stacks = []
    for path, tensors in zip(paths, found, strict=True):
        if "logits" not in tensors:
            raise ViewraceError(f"{path} must hold an array named logits, found {', '.join(tensors) or 'none'}: rename it")
        scores = tensors["logits"]
        stacks.append(scores[None] if scores.ndim == 2 else scores)
    for path, scores in zip(paths, stacks, strict=True):
        if scores.shape[1:] != stacks[0].shape[1:]:
            raise ViewraceError(
                f"files of logits must have the same examples and classes, received {stacks[0].shape[1:]} in {paths[0]} and "
                f"{scores.shape[1:]} in {path}: give members of one test set"
            )
    return np.concatenate(stacks), _labels(paths, found)


def _labels(paths: Sequence[Path], found: Sequence[dict[str, NDArray[Any]]]) -> NDArray[Any]:
    held = [(path, tensors["labels"]) for path, tensors in zip(paths, found, strict=True) if "labels" in tensors]
    if not held:
        raise ViewraceError(f"a file must hold an array named labels, found none in {paths[0]}: add it to one of the files")
    first, labels = held[0]
    for path, other in held[1:]:
        if not np.array_equal(labels, other):
            raise ViewraceError(f"labels must be the same in all files, those of {path} differ from {first}: use one test set")
    return labels


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file. Pickled objects are refused, never loaded."""
    if path.suffix not in KINDS:
        raise ViewraceError(f"logits are read from {' or '.join(KINDS)} files, received {path}: save them as one of these")
    if not path.is_file():
        raise ViewraceError(f"there is no file {path}: give one with logits and labels")
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.numpy.load_file(path))
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
        what = "holds pickled objects" if "allow_pickle" in str(error) or "pickled" in str(error) else "is damaged"
        raise ViewraceError(f"{path} {what}: save plain arrays with numpy.savez or safetensors") from None
