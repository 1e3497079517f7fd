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
    seen = [observe(params)]
    for width in times.diff().tolist():
        for _ in range(substeps):
            params = _step(gradient, params, width / substeps)
        seen.append(observe(params))
    return torch.stack(seen), params


def _step(gradient: Callable[[Params], Params], params: Params, size: float) -> Params:
    first = gradient(params)
    second = gradient(_moved(params, first, size / 2))
    third = gradient(_moved(params, second, size / 2))
    last = gradient(_moved(params, third, size))
    return {
        name: tensor - size / 6 * (first[name] + 2 * second[name] + 2 * third[name] + last[name])
        for name, tensor in params.items()
    }


def _moved(params: Params, gradient: Params, size: float) -> Params:
    return {name: tensor - size * gradient[name] for name, tensor in params.items()}
