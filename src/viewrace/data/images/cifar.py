"""CIFAR-10 and CIFAR-100 as they are distributed for Python, read without executing a pickle.

The files are Python 2 pickles of a dict with a uint8 array. The reader below knows the three names that such a pickle refers to
and puts plain stand-ins in their place, so that not even NumPy's own unpickling runs; a pickle with any other name is refused.
Format: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, and the page of the data set.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from viewrace.data.images.stored import Split, Stored
from viewrace.errors import ViewraceError

__all__ = ["read_cifar", "read_pickle"]

FILES: dict[str, dict[Split, tuple[str, ...]]] = {
    "cifar10": {"train": tuple(f"data_batch_{index}" for index in range(1, 6)), "test": ("test_batch",)},
    "cifar100": {"train": ("train",), "test": ("test",)},
}
NAMES = {"cifar10": ("batches.meta", b"label_names", b"labels"), "cifar100": ("meta", b"fine_label_names", b"fine_labels")}
SHAPE = (3, 32, 32)


def read_cifar(kind: Literal["cifar10", "cifar100"], path: Path, split: Split) -> Stored:
    """One split from the folder of pickled batches, or from the tar file that holds it (CIFAR-100: the fine labels)."""
    meta, names_key, labels_key = NAMES[kind]
    names = _entry(read_pickle(_bytes(path, meta), meta), names_key, meta)
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise ViewraceError(f"{meta} must list the names of the classes, received {type(names).__name__}: get {kind} anew")
    pixels, labels = [], []
    for file in FILES[kind][split]:
        tree = read_pickle(_bytes(path, file), file)
        data, found = _entry(tree, b"data", file), _entry(tree, labels_key, file)
        if not isinstance(data, _Array) or not isinstance(found, list) or data.shape != (len(found), 3072):
            raise ViewraceError(f"{file} must hold images of 3072 bytes with as many labels, received others: get {kind} anew")
        pixels.append(data.numbers())
        labels.append(np.array(found, dtype=np.int64))
    images = torch.from_numpy(np.concatenate(pixels)).view(-1, *SHAPE)

    def decode(rows: np.ndarray) -> Tensor:
        return images[torch.from_numpy(rows)].float().div_(255)

    return Stored(np.concatenate(labels), tuple(name.decode() for name in names), decode)


def _bytes(path: Path, name: str) -> bytes:
    """The file `name` in a folder, in the one folder that it holds, or in a tar file."""
    try:
        if path.is_file():
            with tarfile.open(path) as archive:
                inside = [member for member in archive.getmembers() if member.isfile() and Path(member.name).name == name]
                held = archive.extractfile(inside[0]) if inside else None
                if held is not None:
                    return held.read()
        for file in (path / name, *sorted(path.glob(f"*/{name}"))):
            if file.is_file():
                return file.read_bytes()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ViewraceError(f"cannot read {path}: {error}; give the folder of pickled batches or its tar file") from None
    raise ViewraceError(f"{path} has no file {name}: give the folder of pickled batches or its tar file")


def _entry(tree: object, key: bytes, file: str) -> object:
    if not isinstance(tree, dict) or key not in tree:
        raise ViewraceError(f"{file} must hold a dict with {key.decode()}, received another content: get the files anew")
    return tree[key]


class _Array:
    """What a pickle says of an array, taken down and looked at; nothing of NumPy is called by the pickle."""

    shape: tuple[int, ...] = ()
    raw: bytes = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        plain = isinstance(kind, _Kind) and kind.code in (b"u1", "u1") and fortran in (False, 0)
        if not plain or not isinstance(raw, bytes) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise pickle.UnpicklingError("an array that is not of plain bytes")
        if int(np.prod(shape, dtype=object)) != len(raw):
            raise pickle.UnpicklingError("an array of another size than its bytes")
        self.shape, self.raw = tuple(shape), raw

    def numbers(self) -> np.ndarray:
        """The uint8 array itself."""
        return np.frombuffer(self.raw, dtype=np.uint8).reshape(self.shape).copy()


class _Kind:
    """What a pickle says of an array's type."""

    def __init__(self, code: object = None, *_: object):
        self.code = code

    def __setstate__(self, state: object) -> None:
        """The byte order and the like, which a single byte has no use for."""


def _new_array(*_: object) -> _Array:
    return _Array()


STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return STAND_INS[module, name]


def read_pickle(content: bytes, name: str) -> object:
    """The plain values in a pickle of CIFAR; whatever it asks to be called is refused with one line, and not called."""
    try:
        return _Reader(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ViewraceError(f"{name} is not a plain file of CIFAR ({reason}): nothing of it was run; get it anew") from None
