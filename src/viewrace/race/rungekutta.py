"""The gradient flow of small networks at given times, by a fixed step that is halved until it no longer matters.

The trainer's own flow (viewrace.train.flow) adapts its step to each seed and stops by a rule; here a trajectory is held
against a closed form, so what is wanted is all seeds at the same times, in float64, with an error that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from viewrace.nets import Params

__all__ = ["Trajectory", "trajectory"]

MOST_SUBSTEPS = 64


class Trajectory(NamedTuple):
    """values: (time, ...) what was observed. substeps: Runge-Kutta steps between two times. change: the largest change of
    a value, relative to the largest final value, when that number was doubled for the last time. params: the end."""

    values: Tensor
    substeps: int
    change: float
    params: Params


def trajectory(
    gradient: Callable[[Params], Params],
    params: Params,
    times: Tensor,
    observe: Callable[[Params], Tensor],
    tolerance: float = 1e-4,
) -> Trajectory:
    """Observed values along dw/dt = -gradient(w) from `params` at the first of the rising `times`.

    The classical Runge-Kutta method of order four, with 1, 2, 4, .. steps between two times until a doubling changes no
    value by more than `tolerance` times the largest final one, or 64 are reached: `change` then says how much is unresolved.
    """
    substeps, change = 1, math.inf
    values, end = _run(gradient, params, times, observe, substeps)
    while substeps < MOST_SUBSTEPS and not change <= tolerance:
        substeps *= 2
        before, (values, end) = values, _run(gradient, params, times, observe, substeps)
        change = float((values - before).abs().amax() / values[-1].abs().amax())
        change = change if math.isfinite(change) else math.inf
    return Trajectory(values, substeps, change, end)


def _run(
    gradient: Callable[[Params], Params], params: Params, times: Tensor, observe: Callable[[Params], Tensor], substeps: int
) -> tuple[Tensor, Params]:
    """All weights move as one vector: a network of many small matrices would spend its time on adding them up one by one."""
    sizes = [tensor.numel() for tensor in params.values()]

    def unpacked(flat: Tensor) -> Params:
        parts = zip(params.items(), flat.split(sizes), strict=True)
        return {name: part.view(tensor.shape) for (name, tensor), part in parts}

    def slope(flat: Tensor) -> Tensor:
        found = gradient(unpacked(flat))
        return -torch.cat([found[name].flatten() for name in params])

    flat = torch.cat([tensor.flatten() for tensor in params.values()])
    seen = [observe(params)]
    for width in times.diff().tolist():
        for _ in range(substeps):
            flat = _step(slope, flat, width / substeps)
        seen.append(observe(unpacked(flat)))
    return torch.stack(seen), unpacked(flat)


def _step(slope: Callable[[Tensor], Tensor], flat: Tensor, size: float) -> Tensor:
    first = slope(flat)
    second = slope(flat + size / 2 * first)
    third = slope(flat + size / 2 * second)
    last = slope(flat + size * third)
    return flat + size / 6 * (first + 2 * second + 2 * third + last)
