"""Parquet files with one encoded picture and one label a row, as on the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from viewrace.data.images.decode import decode, needed
from viewrace.data.images.stored import Split, Stored, split_rows
from viewrace.errors import ViewraceError

__all__ = ["read_parquet"]

IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label")


def read_parquet(path: Path, split: Split, size: int | None) -> tuple[Stored, np.ndarray]:
    """The rows of one split of a Parquet file, or of a folder of them.

    In a folder, files with `train` or `test` in their names are the splits; a single file, or files without those words, are
    split by `split_rows`. Columns: `image` or `img`, bytes or a struct with `bytes`; `label`, `labels` or `fine_label`,
    whole numbers or names. Names of the classes come from the schema's metadata (`classes`, separated by commas, or
    Hugging Face's) where it has them.
    """
    files = _files(path)
    named = {word: [file for file in files if word in file.name.lower()] for word in ("train", "test")}
    ready = path.is_dir() and all(named.values())
    table = needed(lambda: __import__("pyarrow.parquet").parquet, "pyarrow")
    try:
        chosen = named[split] if ready else files
        held = table.read_schema(chosen[0]).names
        columns = [_column(held, names, path) for names in (IMAGES, LABELS)]
        tables = [table.read_table(file, columns=columns) for file in chosen]
    except (OSError, ValueError) as error:
        raise ViewraceError(f"cannot read {path} as Parquet ({str(error).splitlines()[0]}): give another file") from None
    labels, classes = _labels(tables, columns[1], path)
    pictures = [chunk for part in tables for chunk in part.column(columns[0]).chunks]
    starts = np.cumsum([0, *(len(chunk) for chunk in pictures)])

    def content(row: int) -> tuple[str, bytes]:
        chunk = int(np.searchsorted(starts, row, side="right")) - 1
        value = pictures[chunk][int(row - starts[chunk])].as_py()
        value = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(value, bytes):
            raise ViewraceError(f"row {row} of {path} must hold the bytes of an image, received {type(value).__name__}: mend it")
        return f"row {row} of {path}", value

    def pixels(rows: np.ndarray) -> Tensor:
        return decode((content(int(row)) for row in rows), size)

    return Stored(labels, classes, pixels), np.arange(len(labels)) if ready else split_rows(labels, split)


def _files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ViewraceError(f"there is no Parquet file at {path}: give one, or a folder that holds some")
    return files


def _column(held: list[str], names: tuple[str, ...], path: Path) -> str:
    found = [name for name in names if name in held]
    if not found:
        raise ViewraceError(f"{path} must have a column {' or '.join(names)}, received {', '.join(held)}: rename it")
    return found[0]


def _labels(tables: list[Any], column: str, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    values = [value for table in tables for value in table.column(column).to_pylist()]
    names = _names(tables[0].schema.metadata or {}, column)
    if values and all(isinstance(value, str) for value in values):
        classes = names or tuple(sorted(set(values)))
        return np.array([classes.index(value) if value in classes else -1 for value in values]), classes
    if not all(isinstance(value, int) for value in values):
        raise ViewraceError(f"column {column} of {path} must hold whole numbers or names, received others: mend the labels")
    labels = np.array(values, dtype=np.int64)
    return labels, names or tuple(str(index) for index in range(labels.max(initial=-1) + 1))


def _names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...]:
    """Names of the classes that the schema's metadata gives; none: empty."""
    if b"classes" in metadata:
        return tuple(metadata[b"classes"].decode().split(","))
    try:
        return tuple(json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"])
    except (KeyError, ValueError, TypeError):
        return ()
