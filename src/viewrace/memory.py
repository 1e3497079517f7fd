"""What fits: memory asked for beside memory that is free, before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import torch

from viewrace.errors import ViewraceError

__all__ = ["free_memory", "require"]

GIB = 2**30


def free_memory(device: torch.device | None = None) -> int | None:
    """Bytes that can be had without swapping, on a CUDA device or else in main memory; None where the system does not say."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)


def require(need: float, what: str, lower: str, device: torch.device | None = None) -> None:
    """Refuse `what` where its `need` in bytes is more than is free; `lower` says which setting to lower."""
    free = free_memory(device)
    if free is not None and need > free:
        raise ViewraceError(f"{what} needs about {need / GIB:.1f} GiB, received {free / GIB:.1f} GiB of free memory: {lower}")
