"""A patch network's logits and gradients on a CUDA device, by Triton: responses are made tile by tile and never leave the chip.

Written to memory, the responses of a gradient cost more than its products. So the way back makes them anew: three products for
two, on the tensor cores. `bf16` products where float32 ones may be rounded (torch's `medium` precision, `mixed` here), else three
products of TF32 numbers for each, whose error is that of float32 to a few units.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

__all__ = ["Tiles", "product_format", "tiled"]

WHOLE = 128
"""The most dimensions of a patch whose gradient stays on the chip; beyond, the slopes are written to memory."""

PROGRAMS = 264
"""Programs that keep a large card busy; where there are fewer, sums are split into parts."""


@cache
def _kernels() -> ModuleType | None:
    """The Triton kernels; None where Triton is not installed."""
    try:
        from viewrace.nets import tile_kernels
    except ImportError:
        return None
    return tile_kernels


def tiled(like: Tensor) -> bool:
    """Whether networks whose numbers are `like` these are computed here."""
    return like.is_cuda and like.dtype == torch.float32 and _kernels() is not None


class Tiles:
    """The inputs of Columns, and the logits and gradients of networks on them."""

    def __init__(self, rows: Tensor, places: int, examples: int):
        """From rows (patch x place, dim), in the format of the products."""
        self.places, self.examples, self.patches = places, examples, len(rows) // places
        self.dim = max(16, 1 << (rows.shape[1] - 1).bit_length())
        self.rows = self._padded(rows)
        self.shape = _shape(rows.dtype, self.dim)

    def logits(self, weight: Tensor, q: int, rho: float) -> Tensor:
        """(seed, class, example) logits of weight (seed, class, neuron, dim)."""
        seeds, classes, neurons, _ = weight.shape
        tall, blocks = self._grid(seeds * classes)
        split = _split(tall * blocks, neurons)
        parts = weight.new_empty(split, seeds, classes, self.examples)
        sizes = seeds * classes, neurons, _upward(neurons, split), self.patches, self.examples, self.places
        given = self._weights(weight, rho), self.rows, parts
        _required().respond[tall, blocks, split](*given, *sizes, rho / q, Q=q, PART=min(self.dim, WHOLE), **self.shape)
        return parts[0] if split == 1 else parts.sum(dim=0)

    def gradient(self, weight: Tensor, residual: Tensor, q: int, rho: float) -> Tensor:
        """dLoss/dweight, (seed, class, neuron, dim), from residual (seed, class, example)."""
        seeds, classes, neurons, dim = weight.shape
        if self.dim > WHOLE:
            return self._wide(weight, residual.contiguous(), q, rho)
        tall, blocks = self._grid(seeds * classes)
        split = _split(tall * neurons, blocks)
        parts = weight.new_empty(split, *weight.shape)
        sizes = seeds * classes, neurons, dim, self.patches, self.examples, self.places, _upward(blocks, split)
        given = self._weights(weight, rho), self.rows, residual.contiguous(), parts
        _required().gather[tall, neurons, split](*given, *sizes, Q=q, **self.shape)
        return parts[0] if split == 1 else parts.sum(dim=0)

    def _wide(self, weight: Tensor, residual: Tensor, q: int, rho: float) -> Tensor:
        """The gradient as one product of what lies in memory: slopes times residuals, and the inputs."""
        rows, neurons = weight.shape[0] * weight.shape[1], weight.shape[2]
        weighed = self.rows.new_empty(rows * neurons, len(self.rows))
        given = self._weights(weight, rho), self.rows, residual, weighed
        sizes = rows, neurons, self.patches, self.examples, self.places
        _required().weigh[*self._grid(rows, self.places), neurons](*given, *sizes, Q=q, PART=WHOLE, **self.shape)
        return (weighed @ self.rows)[:, : weight.shape[3]].to(weight.dtype).reshape(weight.shape)

    def _grid(self, rows: int, columns: int | None = None) -> tuple[int, int]:
        """How many tiles cover the rows, and the examples (or so many columns)."""
        return _upward(rows, self.shape["TALL"]), _upward(columns or self.examples, self.shape["WIDE"])

    def _weights(self, weight: Tensor, rho: float) -> Tensor:
        return self._padded((weight.flatten(0, 2) / rho).to(self.rows.dtype))

    def _padded(self, rows: Tensor) -> Tensor:
        return torch.nn.functional.pad(rows, (0, self.dim - rows.shape[1])).contiguous()


def product_format(like: Tensor) -> torch.dtype:
    """The number format in which numbers `like` these are multiplied on their device."""
    return torch.bfloat16 if tiled(like) and torch.get_float32_matmul_precision() == "medium" else like.dtype


def _shape(products: torch.dtype, dim: int) -> dict[str, Any]:
    """Rows and examples of a tile, and how Triton is to lay it out: the quickest of those tried on an H100."""
    if products == torch.bfloat16:
        return {"D": dim, "TALL": 64, "WIDE": 64, "EXACT": None, "num_warps": 4, "num_stages": 3}
    tall, warps = (128, 8) if dim > 64 else (64, 4)
    return {"D": dim, "TALL": tall, "WIDE": 64, "EXACT": "tf32x3", "num_warps": warps, "num_stages": 2}


def _split(programs: int, most: int) -> int:
    """Into how many parts a sum is split so that there are enough programs."""
    return max(1, min(most, PROGRAMS // programs))


def _upward(size: int, by: int) -> int:
    return -(-size // by)


def _required() -> ModuleType:
    found = _kernels()
    assert found is not None
    return found
