"""A results folder: one NetCDF per entry, a manifest with checksums, and a room for what is unfinished."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from viewrace.errors import ViewraceError
from viewrace.files import checksum, write_text, write_whole
from viewrace.study.room import Room

__all__ = ["Folder"]

MANIFEST = "manifest.json"
FORMAT = 1


class Folder:
    """Results of one set of settings. Opens or creates it; refuses a folder that holds something else.

    identity: what the results are of (settings fingerprint, scale, root seeds); None only reads.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any] | None = None):
        self.path = Path(path)
        self.room = Room(self.path)
        if identity is None:
            self.manifest = self._read_manifest(must_exist=True)
            return
        self._claim_ground()
        self.manifest = self._read_manifest(must_exist=False)
        held = self.manifest.get("identity")
        if held is not None and held != identity:
            raise ViewraceError(
                f"{self.path} holds results of other settings ({_differences(held, identity)}): "
                "choose another --out, or delete that folder"
            )
        self.manifest |= {"format": FORMAT, "identity": dict(identity)}
        self.manifest.setdefault("entries", {})
        self._save_manifest()

    def _claim_ground(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ViewraceError(f"{self.path} is a file, not a folder: choose another --out")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            content = [item for item in self.path.iterdir() if not item.name.endswith(".part")]
        except OSError as error:
            raise ViewraceError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from None
        if content and not (self.path / MANIFEST).is_file():
            raise ViewraceError(f"{self.path} holds something else (no {MANIFEST}): choose an empty folder for --out")
        if not os.access(self.path, os.W_OK):
            raise ViewraceError(f"cannot write to {self.path}: permission denied; choose another --out")

    def _read_manifest(self, must_exist: bool) -> dict[str, Any]:
        file = self.path / MANIFEST
        if not file.is_file():
            if must_exist:
                pages = [name for name in ("audit.html", "bench.png") if (self.path / name).is_file()]
                what = f"open {self.path / pages[0]}" if pages else "give a folder that viewrace wrote"
                raise ViewraceError(f"{self.path} holds no results to show (no {MANIFEST}): {what}")
            return {}
        try:
            tree = json.loads(file.read_text(encoding="utf-8"))
            if tree["format"] != FORMAT:
                raise ViewraceError(f"{file} has format {tree['format']}, this version reads {FORMAT}: run anew")
            tree["identity"], tree["entries"]
        except (ValueError, KeyError, TypeError):
            if must_exist:
                raise ViewraceError(f"{file} is damaged: run the same command again to recompute it") from None
            return {}
        return dict(tree)

    def _save_manifest(self) -> None:
        write_text(self.path / MANIFEST, json.dumps(self.manifest, indent=1))

    def state(self, name: str) -> str:
        """`whole`, `missing`, or `damaged` where the file's checksum is not the one it was written with."""
        entry = self.manifest["entries"].get(name)
        if entry is None:
            return "missing"
        return "whole" if checksum(self.path / entry["file"]) == entry["sha256"] else "damaged"

    def read(self, name: str) -> xr.Dataset:
        """The Dataset of a whole entry, loaded into memory."""
        with xr.open_dataset(self.path / self.manifest["entries"][name]["file"], engine="h5netcdf") as data:
            return data.load()

    def note(self, name: str) -> dict[str, Any]:
        """What was noted beside an entry when it was written: its verdict, say."""
        return dict(self.manifest["entries"][name]["note"])

    def write(self, name: str, data: xr.Dataset, note: Mapping[str, Any]) -> None:
        """Write a Dataset and what is noted beside it; the entry is there whole or not at all."""
        file = self.path / f"{name}.nc"
        write_whole(file, lambda partial: data.to_netcdf(partial, engine="h5netcdf"))
        self.manifest["entries"][name] = {"file": file.name, "sha256": checksum(file), "note": dict(note)}
        self._save_manifest()


def _differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    names = [name for name in asked if held.get(name) != asked[name]]
    return ", ".join(f"{name}: there {_short(held.get(name))}, asked {_short(asked[name])}" for name in names)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12] + ".."
