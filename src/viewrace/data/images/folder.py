"""A folder with one folder of pictures for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from viewrace.data.images.decode import decode
from viewrace.data.images.stored import Split, Stored, split_rows
from viewrace.errors import ViewraceError

__all__ = ["read_folder"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
TEST_NAMES = ("test", "val", "valid", "validation")


def read_folder(path: Path, split: Split, size: int | None) -> tuple[Stored, np.ndarray]:
    """Pictures of DIR/train/CLASS and DIR/test/CLASS (or val), or of DIR/CLASS, and the rows of the split.

    Classes are the names of the folders in alphabetical order, those of both splits together.
    """
    if not path.is_dir():
        raise ViewraceError(f"there is no folder {path}: give one that holds a folder of images for each class")
    train, tests = path / "train", [path / name for name in TEST_NAMES if (path / name).is_dir()]
    both = train.is_dir() and bool(tests)
    roots = [train, tests[0]] if both else [train if train.is_dir() else path]
    classes = sorted({room.name for root in roots for room in _rooms(root)})
    if not classes:
        raise ViewraceError(f"{path} must hold a folder of images for each class, received none: give another folder")
    root = tests[0] if both and split == "test" else roots[0]
    held = [(file, classes.index(room.name)) for room in _rooms(root) for file in _pictures(room)]
    labels = np.array([label for _, label in held], dtype=np.int64)

    def pixels(rows: np.ndarray) -> Tensor:
        return decode(((str(held[row][0]), held[row][0]) for row in rows), size)

    return Stored(labels, tuple(classes), pixels), np.arange(len(held)) if both else split_rows(labels, split)


def _rooms(root: Path) -> list[Path]:
    return sorted(room for room in root.iterdir() if room.is_dir() and not room.name.startswith("."))


def _pictures(room: Path) -> list[Path]:
    return sorted(file for file in room.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
