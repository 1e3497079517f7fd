"""The engine beside its peers and beside the machine's own matrix products: one process, the same data, by turns."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from viewrace.errors import ViewraceError
from viewrace.nets.kernels import find_kernel
from viewrace.study.peers import Q, Size, Way, convolution_ways, mlp_ways, patch_ways
from viewrace.study.provenance import environment, now

__all__ = ["AXES", "LIMIT", "benchmark"]

BASE = Size()
AXES: dict[str, tuple[int, ...]] = {
    "seeds": (1, 16, 256, 4096),
    "neurons": (40, 200, 1000),
    "dim": (64, 120, 512),
    "columns": (1000, 4800, 16_000, 50_000),
}
"""What is varied, one at a time, about 16 seeds, K m = 40, d = 120, N P = 4800."""

SHORT = {"seeds": (1, 16), "neurons": (40,), "dim": (64, 120), "columns": (1000, 4800)}
SQUARE = 2048
LIMIT = "limit"
LONGEST = 6.0
"""Seconds that one turn of one way may take; a slower one is left out and named."""


def benchmark(
    turns: int = 5,
    short: bool = False,
    compiled: bool = True,
    jax: bool = True,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Seconds of one gradient of all networks by every way, `turns` times, at every size; plain values.

    points: one for each size, with `seconds` (by way, a list over turns) and `memory` (bytes that the engine's peak is above
    what was held before, None where the system does not tell). others: the same for an MLP and a convolutional net. square:
    FLOP/s of a product of 2048 x 2048. short: few small sizes, for a try.
    """
    if turns < 1:
        raise ViewraceError(f"turns must be at least 1, received {turns}: give how often each way takes its turn")
    sizes = _sizes(SHORT if short else AXES)
    points = []
    for done, (axes, size) in enumerate(sizes):
        points.append(_point(size, axes, turns, compiled and size == BASE, jax))
        if progress is not None:
            progress((done + 1) / (len(sizes) + 1))
    others = {"mlp": _turns(mlp_ways(BASE.seeds), turns), "convolutional net": _turns(convolution_ways(BASE.seeds), turns)}
    side = torch.randn(SQUARE, SQUARE)
    square = _turns({"square": lambda: side @ side}, turns)["square"]
    if progress is not None:
        progress(1.0)
    return {
        "started": now(),
        "environment": environment(),
        "threads": torch.get_num_threads(),
        "kernel": find_kernel(Q, side).name,
        "turns": turns,
        "points": points,
        "others": others,
        "square": [2.0 * SQUARE**3 / seconds for seconds in square],
    }


def _sizes(axes: dict[str, tuple[int, ...]]) -> list[tuple[list[str], Size]]:
    """Every size with the axes it lies on; the base lies on all."""
    return [(list(axes), BASE)] + [
        ([axis], replace(BASE, **{axis: value}))
        for axis, values in axes.items()
        for value in values
        if value != getattr(BASE, axis)
    ]


def _point(size: Size, axes: list[str], turns: int, compiled: bool, jax: bool) -> dict[str, Any]:
    ways = patch_ways(size, compiled, jax)
    before = _reset_peak()
    ways["viewrace"]()
    peak = _peak()
    memory = None if before is None or peak is None else max(0, peak - before)
    seconds = _turns(ways | {LIMIT: _products(size)}, turns)
    return asdict(size) | {"axes": axes, "flops": size.flops, "seconds": seconds, "memory": memory}


def _products(size: Size) -> Way:
    """The two products alone, at these shapes, all seeds in one; in parts where the responses would not fit."""
    part = max(1, min(size.seeds, 200_000_000 // (size.neurons * size.columns)))
    weight, columns = torch.randn(part * size.neurons, size.dim), torch.randn(size.dim, size.columns)
    rows, out = columns.T.contiguous(), torch.empty(part * size.neurons, size.columns)

    def both() -> object:
        for _ in range(-(-size.seeds // part)):
            torch.mm(weight, columns, out=out)
            torch.mm(out, rows)
        return None

    return both


def _turns(ways: dict[str, Way], turns: int) -> dict[str, list[float]]:
    """Seconds of each way over turns, one way after the other in each turn; what takes too long or fails is left out."""
    kept: dict[str, Way] = {}
    for name, way in ways.items():
        try:
            way()
            if _seconds(way) <= LONGEST:
                kept[name] = way
            else:
                _say(f"{name} takes more than {LONGEST:g} s here and is left out")
        except (RuntimeError, MemoryError) as error:
            _say(f"{name} is left out: {str(error).splitlines()[0]}")
    found: dict[str, list[float]] = {name: [] for name in kept}
    for _ in range(turns):
        for name, way in kept.items():
            found[name].append(_seconds(way))
    return found


def _seconds(way: Way) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def _say(text: str) -> None:
    logging.getLogger("viewrace").warning(text)


def _reset_peak() -> int | None:
    """Bytes now resident, with the peak set back to that; None where the system has no such thing."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before counts as held otherwise
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return None
    return _peak("VmRSS")


def _peak(name: str = "VmHWM") -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)
