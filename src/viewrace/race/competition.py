"""The races as competition between species: Lotka-Volterra's form, linear in each, and its power-law form.

One number s_m a view stands for all its neurons, and the loss for a common resource that sum s^2 uses up. In the linear form
leads keep their ratio, as in a network with q = 2; in the power form, q >= 3, the leader runs away.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["lotka_volterra", "power_race"]


def lotka_volterra(start: Tensor, rate: Tensor, time: float, steps: int = 400, capacity: float = 1.0) -> Tensor:
    """(..., view) s at `time` of ds_m/dt = r_m s_m (1 - sum s^2 / capacity^2), from `start` > 0 with `rate` r, both (..., view).

    log s_m - log s_n grows at r_m - r_n times a clock that all share: with equal rates ratios are kept, and nothing is a race.
    """
    return power_race(start, rate, time, 2, steps, capacity)


def power_race(start: Tensor, rate: Tensor, time: float, q: int, steps: int = 4000, capacity: float = 1.0) -> Tensor:
    """(..., view) s at `time` of ds_m/dt = r_m s_m^(q-1) (1 - sum s^2 / capacity^2), in `steps` equal steps of log s."""

    def slope(w: Tensor) -> Tensor:
        left = 1 - torch.exp(2 * w).sum(-1, keepdim=True) / capacity**2
        return rate * torch.exp((q - 2) * w) * left

    return _runge_kutta(start.log(), slope, time / steps, steps).exp()


def _runge_kutta(w: Tensor, slope: Callable[[Tensor], Tensor], step: float, steps: int) -> Tensor:
    """Kutta's method of order four."""
    for _ in range(steps):
        a = slope(w)
        b = slope(w + step / 2 * a)
        c = slope(w + step / 2 * b)
        w = w + step / 6 * (a + 2 * b + 2 * c + slope(w + step * c))
    return w
