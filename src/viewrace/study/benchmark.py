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

from viewrace.config import Train
from viewrace.errors import ViewraceError
from viewrace.nets.kernels import find_kernel
from viewrace.nets.tiles import product_format, tiled
from viewrace.study.peers import PROCESSOR, Q, Size, Way, convolution_ways, mlp_ways, patch_ways
from viewrace.study.provenance import environment, now
from viewrace.train.machine import machine

__all__ = ["AXES", "LIMIT", "benchmark"]

BASE = {"cpu": Size(), "cuda": Size(seeds=1024)}
AXES: dict[str, tuple[int, ...]] = {
    "seeds": (1, 16, 256, 4096),
    "neurons": (40, 200, 1000),
    "dim": (64, 120, 512),
    "columns": (1000, 4800, 16_000, 50_000),
}
"""What is varied, one at a time, about K m = 40, d = 120, N P = 4800 and 16 seeds, or 1024 on a CUDA device."""

SHORT = {"seeds": (1, 16), "neurons": (40,), "dim": (64, 120), "columns": (1000, 4800)}
SQUARE = {"cpu": 2048, "cuda": 8192}
LIMIT = "limit"
MOST_RESPONSES = {"cpu": 200_000_000, "cuda": 2_000_000_000}
LONGEST = 6.0
"""Seconds that one turn of one way may take; a slower one is left out and named."""


def benchmark(
    turns: int = 5,
    short: bool = False,
    compiled: bool = True,
    jax: bool = True,
    progress: Callable[[float], None] | None = None,
    config: Train | None = None,
) -> dict[str, Any]:
    """Seconds of one gradient of all networks by every way, `turns` times, at every size; plain values.

    points: one for each size, with `seconds` (by way, a list over turns) and `memory` (bytes that the engine's peak is above
    what was held before, None where the system does not tell). others: the same for an MLP and a convolutional net. square:
    FLOP/s of a product of `side` x `side`. short: few small sizes, for a try. config: threads, device and precision.
    """
    if turns < 1:
        raise ViewraceError(f"turns must be at least 1, received {turns}: give how often each way takes its turn")
    config, tell, started = config or Train(), progress or (lambda fraction: None), now()
    with machine(config) as device:
        base, products = BASE[device.type], product_format(torch.empty(0, device=device))
        sizes, points = _sizes(SHORT if short else AXES, base), []
        for done, (axes, size) in enumerate(sizes):
            ways = patch_ways(size, compiled and size == base, jax, device, products)
            points.append(_point(size, axes, turns, ways | {LIMIT: _products(size, device, products)}, device))
            tell((done + 1) / (len(sizes) + 1))
        networks = {"mlp": mlp_ways(base.seeds, device=device), "convolutional net": convolution_ways(base.seeds, device=device)}
        others = {name: _turns(ways, turns, device) for name, ways in networks.items()}
        square = _square(turns, device, products)
        tell(1.0)
        found = {"started": started, "environment": environment(), "precision": config.precision, "turns": turns}
        return found | {"points": points, "others": others} | square


def _square(turns: int, device: torch.device, products: torch.dtype) -> dict[str, Any]:
    """FLOP/s of one large square product, and what made it."""
    side = torch.randn(SQUARE[device.type], SQUARE[device.type], device=device).to(products)
    seconds = _turns({"square": lambda: side @ side}, turns, device)["square"]
    return {
        "device": _name(device),
        "threads": torch.get_num_threads(),
        "kernel": "tiles" if tiled(side.float()) else find_kernel(Q, side).name,
        "side": len(side),
        "square": [2.0 * len(side) ** 3 / each for each in seconds],
    }


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"


def _sizes(axes: dict[str, tuple[int, ...]], base: Size) -> list[tuple[list[str], Size]]:
    """Every size with the axes it lies on; the base lies on all."""
    return [(list(axes), base)] + [
        ([axis], replace(base, **{axis: value}))
        for axis, values in axes.items()
        for value in values
        if value != getattr(base, axis)
    ]


def _point(size: Size, axes: list[str], turns: int, ways: dict[str, Way], device: torch.device) -> dict[str, Any]:
    before = _reset_peak(device)
    ways["viewrace"]()
    peak = _peak(device)
    memory = None if before is None or peak is None else max(0, peak - before)
    seconds = _turns(ways, turns, device)
    return asdict(size) | {"axes": axes, "flops": size.flops, "seconds": seconds, "memory": memory}


def _products(size: Size, device: torch.device, products: torch.dtype) -> Way:
    """The two products alone, at these shapes, all seeds in one; in parts where the responses would not fit."""
    part = max(1, min(size.seeds, MOST_RESPONSES[device.type] // (size.neurons * size.columns)))
    shapes = ((part * size.neurons, size.dim), (size.dim, size.columns))
    weight, columns = (torch.randn(shape, device=device).to(products) for shape in shapes)
    rows, out = columns.T.contiguous(), weight.new_empty(part * size.neurons, size.columns)

    def both() -> object:
        for _ in range(-(-size.seeds // part)):
            torch.mm(weight, columns, out=out)
            torch.mm(out, rows)
        return None

    return both


def _turns(ways: dict[str, Way], turns: int, device: torch.device = PROCESSOR) -> dict[str, list[float]]:
    """Seconds of each way over turns, one way after the other in each turn; what takes too long or fails is left out."""
    kept: dict[str, Way] = {}
    for name, way in ways.items():
        try:
            way()
            if _seconds(way, device) <= LONGEST:
                kept[name] = way
            else:
                _say(f"{name} takes more than {LONGEST:g} s here and is left out")
        except (RuntimeError, MemoryError) as error:
            _say(f"{name} is left out: {str(error).splitlines()[0]}")
    found: dict[str, list[float]] = {name: [] for name in kept}
    for _ in range(turns):
        for name, way in kept.items():
            found[name].append(_seconds(way, device))
    return found


def _seconds(way: Way, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    way()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _say(text: str) -> None:
    logging.getLogger("viewrace").warning(text)


def _reset_peak(device: torch.device) -> int | None:
    """Bytes now held, with the peak set back to that; None where the system has no such thing."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before counts as held otherwise
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return None
    return _resident("VmRSS")


def _peak(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else _resident("VmHWM")


def _resident(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)
