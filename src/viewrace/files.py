"""Files that are whole or not there: written under a temporary name, moved into place, known by their checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from viewrace.errors import ViewraceError

__all__ = ["checksum", "read_json", "write_json", "write_text", "write_whole"]


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place; on any error nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, tree: object) -> None:
    """Write plain values as JSON, whole or not at all. Raises ViewraceError where the file cannot be written."""
    try:
        write_text(path, json.dumps(tree, indent=1, allow_nan=False))
    except OSError as error:
        raise ViewraceError(f"cannot write {path}: {error.strerror}; choose another file") from None


def read_json(path: Path) -> Any:
    """The plain values in a JSON file. Raises ViewraceError where it cannot be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ViewraceError(f"cannot read {path}: {error.strerror}; choose another file") from None
    except (ValueError, RecursionError):
        raise ViewraceError(f"{path} is damaged (no JSON): run the same command again to renew it") from None


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; empty where there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
