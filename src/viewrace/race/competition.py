"""The races as competition between species for one resource: Lotka-Volterra's form, linear in each, and its power-law form.

One number s_m a view stands for all its neurons, and the loss for a resource that sum s^2 uses up:

    ds_m/dt = r_m s_m^(q-1) (1 - sum s^2 / capacity^2),    q = 2 in Lotka-Volterra's form.

In the coordinate w of `coordinate.py` this is dw_m/dt = r_m (1 - sum s^2 / capacity^2): all views run by one clock, w_m(0) +
r_m tau, whatever the time does. So a race is solved by finding the tau at which the resource is used up, and no step is taken.
With q = 2 and equal rates leads keep their ratio; with q >= 3 the leader runs away.
"""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.race.coordinate import correlation, straight

__all__ = ["compete", "lotka_volterra"]

LEFT = 1e-3
HALVINGS = 50


def compete(start: Tensor, rate: Tensor, q: int, left: float = LEFT, capacity: float = 1.0) -> Tensor:
    """(..., view) s at which a share `left` of the resource is left, from `start`, with `rate` r > 0, both (..., view); float64.

    What starts at 0 stays there, and so does a race without a positive start. Raises ViewraceError where q < 2, where `left`
    is not between 0 and 1, and where the start has used up more.
    """
    goal = capacity**2 * (1 - left)
    used = float(start.double().square().sum(-1).max())
    if q < 2 or not 0 < left < 1 or used >= goal:
        raise ViewraceError(
            f"a competition needs q of at least 2, 0 < left < 1 and a start that has used up less than its end, received "
            f"q = {q}, left = {left:g}, {used / capacity**2:.3g} used up: change the one that is out of range"
        )
    w, rate = straight(start.double(), q), rate.double()
    alone = straight(torch.tensor(goal, dtype=torch.float64).sqrt(), q)
    high = ((alone - w) / rate).amin(-1, keepdim=True).nan_to_num_(posinf=0.0)
    low = torch.zeros_like(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        over = correlation(torch.addcmul(w, rate, middle), q).square_().sum(-1, keepdim=True) > goal
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return correlation(torch.addcmul(w, rate, low), q)


def lotka_volterra(start: Tensor, rate: Tensor, left: float = LEFT, capacity: float = 1.0) -> Tensor:
    """(..., view) s of `compete` with q = 2: ds_m/dt = r_m s_m (1 - sum s^2 / capacity^2)."""
    return compete(start, rate, 2, left, capacity)
