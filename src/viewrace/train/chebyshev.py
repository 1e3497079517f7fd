"""Coefficients of the Runge-Kutta-Chebyshev method of order two."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MOST_STAGES", "Scheme", "coefficients", "scheme", "stable_reach", "stages_for"]

MOST_STAGES = 40
DAMPING = 2 / 13


class Scheme(NamedTuple):
    """first: weight of the first stage. rest: for each later stage (mu, nu, mu~, gamma~)."""

    first: float
    rest: tuple[tuple[float, float, float, float], ...]


@cache
def scheme(stages: int) -> Scheme:
    """The s-stage scheme, s >= 2. Source: Sommeijer, Shampine & Verwer, RKC, J. Comp. Appl. Math. 88 (1998), section 2."""
    w0 = 1 + DAMPING / stages**2
    value, slope, curve = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, stages + 1):
        curve.append(4 * slope[-1] + 2 * w0 * curve[-1] - curve[-2])
        slope.append(2 * value[-1] + 2 * w0 * slope[-1] - slope[-2])
        value.append(2 * w0 * value[-1] - value[-2])
    w1 = slope[stages] / curve[stages]
    b = [0.0, 0.0] + [curve[j] / slope[j] ** 2 for j in range(2, stages + 1)]
    b[0], b[1] = b[2], 1 / w0
    rest = []
    for j in range(2, stages + 1):
        step = 2 * b[j] * w1 / b[j - 1]
        rest.append((2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], step, -(1 - b[j - 1] * value[j - 1]) * step))
    return Scheme(b[1] * w1, tuple(rest))


def coefficients(stages: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights of the first stage (seed,) and of the later ones (seed, stage, 4), for numbers of stages (seed,); 0 beyond."""
    first, rest = (table[stages.cpu()].to(stages.device, dtype) for table in _tables())
    return first, rest


@cache
def _tables() -> tuple[Tensor, Tensor]:
    first = torch.zeros(MOST_STAGES + 1, dtype=torch.float64)
    rest = torch.zeros(MOST_STAGES + 1, MOST_STAGES - 1, 4, dtype=torch.float64)
    for stages in range(2, MOST_STAGES + 1):
        found = scheme(stages)
        first[stages], rest[stages, : stages - 1] = found.first, torch.tensor(found.rest, dtype=torch.float64)
    return first, rest


def stable_reach(stages: int) -> float:
    """Largest step x spectral radius at which the s-stage scheme is stable, about 2/3 (s^2 - 1) (same source)."""
    return 2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * DAMPING)


def stages_for(reach: float) -> int:
    """The fewest stages, at least 2 and at most MOST_STAGES, whose stable reach covers step x spectral radius."""
    wanted = math.sqrt(1 + 1.5 * max(reach, 0.0) / (1 - 2 / 15 * DAMPING))
    return min(MOST_STAGES, max(2, math.ceil(wanted)))
