"""Groups of tensors and a note in one safetensors file: whole or not there, known by a checksum of what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.files import write_whole

__all__ = ["digest", "read_tensors", "write_tensors"]

FORMAT = 1

Groups = dict[str, dict[str, Tensor]]


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, shapes and numbers of tensors."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)} ".encode())
        found.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_tensors(path: Path, kind: str, groups: Groups, note: Mapping[str, Any]) -> None:
    """Write groups of named tensors with a note of plain values; `kind` says what they are."""
    tensors = {f"{group}.{name}": tensor.cpu().contiguous() for group, held in groups.items() for name, tensor in held.items()}
    header = {"format": FORMAT, "kind": kind, "sha256": digest(tensors), "groups": list(groups), "note": dict(note)}
    metadata = {"viewrace": json.dumps(header)}
    try:
        write_whole(path, lambda partial: safetensors.torch.save_file(tensors, partial, metadata=metadata))
    except (OSError, safetensors.SafetensorError) as error:
        raise ViewraceError(f"cannot write {path}: {error}; choose another file") from None


def read_tensors(path: Path, kind: str) -> tuple[Groups, dict[str, Any]]:
    """What `write_tensors` wrote. Raises ViewraceError where it is missing, something else, or damaged."""
    if not path.is_file():
        raise ViewraceError(f"there is no file {path}: give one that viewrace wrote")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["viewrace"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (KeyError, ValueError):
        raise ViewraceError(f"{path} was not written by viewrace: give a file of {kind}") from None
    except (safetensors.SafetensorError, OSError):
        raise ViewraceError(f"{path} is damaged: delete it and run again") from None
    if header["kind"] != kind or header["format"] != FORMAT:
        raise ViewraceError(f"{path} holds {header['kind']}, format {header['format']}: give {kind}, format {FORMAT}")
    if header["sha256"] != digest(tensors):
        raise ViewraceError(f"{path} is damaged (checksum): delete it and run again")
    groups: Groups = {group: {} for group in header["groups"]}
    for full, tensor in tensors.items():
        group, _, name = full.partition(".")
        groups[group][name] = tensor
    return groups, header["note"]
