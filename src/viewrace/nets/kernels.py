"""The kernels between a patch network's matrix products, and which of them this machine is quicker with.

`fused` is patch.c, one pass over the responses each way; `eager` is torch's own operations, several passes. Both give the same
numbers but for the order of sums. Which is quicker is measured once a machine and kept in the cache folder. CUDA devices have
kernels that take the products in, in tiles.py.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets.activation import smoothed_relu_parts
from viewrace.nets.compiled import MOST_Q, cache_folder, library, machine_key

__all__ = ["KERNELS", "Eager", "Fused", "Kernel", "find_kernel"]

VARIABLE = "VIEWRACE_KERNEL"
TRIALS = 5


class Kernel(ABC):
    """Responses to logits, and residuals to what the backward product takes.

    scaled: (row, line, place) responses in units of rho; a row is one class of one seed, its lines are neurons x patches, and
    its places beyond the examples are padding, where the responses are 0.
    """

    name: str

    @abstractmethod
    def respond(self, scaled: Tensor, examples: int, q: int, rho: float) -> tuple[Tensor, Tensor]:
        """Logits (row, example), the sums of act over the lines, and what `weigh` is to be given; may write over scaled."""

    @abstractmethod
    def weigh(self, kept: Tensor, residual: Tensor, q: int) -> Tensor:
        """(row, line, place) act' times the residual (row, example) of its row, 0 in the padding; writes over `kept`."""


class Eager(Kernel):
    name = "eager"

    def respond(self, scaled: Tensor, examples: int, q: int, rho: float) -> tuple[Tensor, Tensor]:
        value, slope = smoothed_relu_parts(scaled, q)
        return value.sum(dim=1)[:, :examples].mul(rho), slope

    def weigh(self, kept: Tensor, residual: Tensor, q: int) -> Tensor:
        kept[:, :, : residual.shape[1]].mul_(residual[:, None])
        return kept


class Fused(Kernel):
    name = "fused"

    def respond(self, scaled: Tensor, examples: int, q: int, rho: float) -> tuple[Tensor, Tensor]:
        logits = scaled.new_empty(len(scaled), examples)
        self._call("respond", scaled, logits, q, ctypes.c_double(rho))
        return logits, scaled

    def weigh(self, kept: Tensor, residual: Tensor, q: int) -> Tensor:
        self._call("weigh", kept, residual.contiguous(), q)
        return kept

    @staticmethod
    def _call(entry: str, scaled: Tensor, per_row: Tensor, q: int, *more: ctypes.c_double) -> None:
        rows, lines, places = scaled.shape
        shapes = (ctypes.c_long(size) for size in (rows, lines, places, per_row.shape[1]))
        pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (scaled, per_row))
        function = getattr(library(scaled.dtype), f"{entry}_{q}")
        function(*pointers, *shapes, *more, ctypes.c_int(torch.get_num_threads()))


KERNELS: dict[str, Kernel] = {"eager": Eager(), "fused": Fused()}


def find_kernel(q: int, like: Tensor) -> Kernel:
    """The kernel for the power q and numbers `like` these: the one VIEWRACE_KERNEL names, or the quicker on this machine.

    Where there is no C compiler, for powers and formats that patch.c does not have, and on other devices, eager.
    """
    asked = os.environ.get(VARIABLE, "auto")
    if asked not in ("auto", *KERNELS):
        raise ViewraceError(f"{VARIABLE} must be one of auto, {', '.join(KERNELS)}, received {asked}: choose one")
    if asked == "eager" or like.device.type != "cpu" or q > MOST_Q or library(like.dtype) is None:
        return KERNELS["eager"]
    return KERNELS["fused" if asked == "fused" else _quicker(like.dtype)]


@cache
def _quicker(dtype: torch.dtype) -> str:
    """The name of the quicker kernel, from the cache folder, or measured now (some milliseconds) and put there."""
    file = cache_folder() / f"quicker-{str(dtype).removeprefix('torch.')}-{torch.get_num_threads()}-{machine_key()}.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))["kernel"]
        if held in KERNELS:
            return str(held)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    seconds = {name: _seconds(KERNELS[name], dtype) for name in KERNELS}
    best = min(seconds, key=lambda name: seconds[name])
    _keep(file, {"kernel": best, "seconds": seconds})
    return best


def _seconds(kernel: Kernel, dtype: torch.dtype) -> float:
    """The least time of one pass each way over the responses of two seeds of the preset."""
    chance = torch.Generator().manual_seed(0)
    scaled, residual = (torch.rand(shape, generator=chance, dtype=dtype) for shape in ((20, 40, 304), (20, 300)))
    found = []
    for _ in range(TRIALS):
        given, start = scaled.clone(), time.perf_counter()
        _, kept = kernel.respond(given, residual.shape[1], 4, 1.0)
        kernel.weigh(kept, residual, 4)
        found.append(time.perf_counter() - start)
    return min(found)


def _keep(file: Path, tree: dict[str, object]) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(tree), encoding="utf-8")
    os.replace(partial, file)
