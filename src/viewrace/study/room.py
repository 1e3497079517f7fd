"""What an unfinished run leaves behind to go on from: trained networks, and claims that were run for one root seed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import xarray as xr
from torch import Tensor

from viewrace.files import write_whole

__all__ = ["Room"]

KEPT, UNFINISHED = "weights", ".networks"


class Room:
    """The room of a run in the folder `path`; several processes may put things there at once, each under keys of its own."""

    def __init__(self, path: Path):
        self.path = path

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Trained networks kept under `key`; a file that cannot be read is deleted and counts as absent."""
        for room in (KEPT, UNFINISHED):
            file = self.path / room / f"{key}.safetensors"
            if file.is_file():
                try:
                    return safetensors.torch.load_file(file)
                except (safetensors.SafetensorError, OSError):
                    file.unlink(missing_ok=True)
        return None

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep trained networks, so that an interrupted run goes on from them."""
        whole = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        write_whole(self.path / UNFINISHED / f"{key}.safetensors", lambda partial: safetensors.torch.save_file(whole, partial))

    def part(self, claim: str, root: int) -> xr.Dataset | None:
        """What a claim measured under one root seed, if it is there; a file that cannot be read is deleted."""
        file = self._part(claim, root)
        if not file.is_file():
            return None
        try:
            with xr.open_dataset(file, engine="h5netcdf") as data:
                return data.load()
        except (OSError, ValueError, KeyError):
            file.unlink(missing_ok=True)
            return None

    def put_part(self, claim: str, root: int, data: xr.Dataset) -> None:
        """Keep what a claim measured under one root seed until those of all of them are joined."""
        write_whole(self._part(claim, root), lambda partial: data.to_netcdf(partial, engine="h5netcdf"))

    def _part(self, claim: str, root: int) -> Path:
        return self.path / UNFINISHED / f"{claim}-{root}.nc"

    def finish(self, keep_weights: bool) -> None:
        """The run is complete: keep its networks under weights/, or drop them."""
        unfinished = self.path / UNFINISHED
        if keep_weights and unfinished.is_dir():
            (self.path / KEPT).mkdir(exist_ok=True)
            for file in unfinished.glob("*.safetensors"):
                os.replace(file, self.path / KEPT / file.name)
        shutil.rmtree(unfinished, ignore_errors=True)
