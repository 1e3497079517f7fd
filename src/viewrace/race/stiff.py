"""Projected networks taken to their end where an explicit step no longer pays: Runge-Kutta-Chebyshev, per seed.

Once some classes are fitted, what is left to learn moves a million times slower than what is fitted settles. The steps of
`trajectory.py` are then bound by stability and not by accuracy; here, as in `viewrace.train.flow`, the stable step grows with
the square of the stages. A pair that cannot grow stands at w = -inf, so stages are kept as ways from the step's start.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from viewrace.config import Train
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight
from viewrace.race.projected import GROWTH, NEAR, Projection, Race
from viewrace.race.trajectory import FIRST, LEAST, ONSET, Run
from viewrace.train.chebyshev import MOST_STAGES, scheme, stable_reach, stages_for

__all__ = ["ERROR", "settle"]

ERROR = 1e-3
"""Error allowed in a step, in units of the largest correlation of the network."""
SAFETY, SHRINK, GROW, REFUSED = 0.8, 0.2, 3.0, 0.5
RADIUS_MARGIN, RADIUS_MEMORY = 1.2, 0.9
TINY = 1e-300


def settle(projection: Projection, ran: Run, train: Train, error: float = ERROR) -> Run:
    """Go on with the seeds of `ran` that have not met the rule of `train`, for at most `train.steps` evaluations more."""
    left = (~ran.done).nonzero().squeeze(1)
    if not len(left):
        return ran
    end = _Settling(Race(projection, ran.correlation[..., left], torch.float64), ran.time[left], train, error)
    while not end.ended.all():
        end.attempt()
    columns = {name: getattr(ran, name).clone() for name in ("correlation", "done", "loss", "time", "evaluations")}
    columns["correlation"][..., left] = end.race.correlations(end.y)
    projection.check(columns["correlation"])
    columns["done"][left], columns["loss"][left], columns["time"][left] = end.done, end.loss, end.time
    columns["evaluations"][left] += end.evaluations
    return replace(ran, **columns)


class _Settling:
    """Step control of every seed; one that has ended takes steps of size 0 until all have.

    Products are done in float64: differences of slopes, which tell the spectral radius, cancel.
    """

    def __init__(self, race: Race, time: Tensor, train: Train, error: float):
        self.race, self.time, self.train, self.error = race, time.clone(), train, error
        loudest = float(race.data.loudest[0])
        self.onset, self.watched = ONSET / loudest, NEAR * GROWTH / loudest
        self.goal = straight(torch.tensor(self.onset, dtype=torch.float64), race.data.q)
        self.y = race.origin()
        self.height = self._height(self.y)
        race.watch(self.height)
        self.slope = race.slope(self.y)
        self.loss = self._loss()
        own = race.split(self.slope)[1]
        growth = (own * self.height ** (race.data.q - 2)).abs().amax(dim=(0, 1, 2))
        self.step = FIRST / growth.clamp(min=TINY)
        self.radius = torch.zeros_like(self.step)
        self.evaluations = torch.ones(race.seeds, dtype=torch.int64)
        self.done = torch.zeros(race.seeds, dtype=torch.bool)
        self.ended = self.done.clone()

    def attempt(self) -> None:
        """One step of every seed."""
        step = torch.minimum(self.step, stable_reach(MOST_STAGES) / self.radius.clamp(min=TINY))
        step = torch.minimum(step, self._reach())
        if self.train.time is not None:
            step = torch.minimum(step, self.train.time - self.time)
        step = torch.where(self.ended, 0.0, step)
        self.race.watch(self.height)
        stages = stages_for(float((step * self.radius).amax()))
        way, slope, radius = self._stages(step, stages)
        height = self._height(self.y + way)
        size = self._size(0.4 * step * (self.slope + slope) - 0.8 * way, height)
        bound = (GROWTH * self.height).clamp_(min=self.watched)
        good = (size <= 1) & (height <= bound).all(dim=0).all(dim=0).all(dim=0)
        factor = (SAFETY * size.clamp(min=1e-9) ** (-1 / 3)).clamp(SHRINK, GROW)
        self.step = torch.where(self.ended, self.step, step * torch.where(good, factor, factor.clamp(max=REFUSED)))
        radius = RADIUS_MARGIN * torch.nan_to_num(radius, nan=0.0, posinf=0.0)
        self.radius = torch.maximum(radius, RADIUS_MEMORY * self.radius)
        self.evaluations += torch.where(self.ended, 0, stages)
        self._accept(good & ~self.ended, step, way, slope, height)

    def _stages(self, step: Tensor, stages: int) -> tuple[Tensor, Tensor, Tensor]:
        """The way from the start to the end of the step, the slope there, and the spectral radius met on it."""
        first, rest = scheme(stages)
        before, now, last = torch.zeros_like(self.slope), first * step * self.slope, self.slope
        fresh, radius = self.race.slope(self.y + now), torch.zeros_like(step)
        for mu, nu, move, pull in rest:
            gain = self._norm(fresh - last) / self._norm(now - before).clamp(min=TINY)
            radius, last = torch.maximum(radius, gain), fresh
            before, now = now, mu * now + nu * before + step * (move * fresh + pull * self.slope)
            fresh = self.race.slope(self.y + now)
        return now, fresh, radius

    def _norm(self, change: Tensor) -> Tensor:
        """(seed,) size of a change of the own views in x, where the Hessian is symmetric."""
        own = self.race.split(change)[1]
        return (own * power(self.height, self.race.data.q - 1)).flatten(0, 2).norm(dim=0)

    def _size(self, off: Tensor, height: Tensor) -> Tensor:
        """(seed,) error in x over what is allowed."""
        q = self.race.data.q
        shared, own = self.race.split(off)
        worst = (own * power(height.clamp(min=LEAST), q - 1)).abs().amax(dim=(0, 1, 2))
        worst = torch.maximum(worst, shared.abs().amax(dim=(0, 1)) * LEAST ** (q - 1))
        return torch.nan_to_num(worst / (self.error * height.amax(dim=(0, 1, 2))), nan=torch.inf)

    def _reach(self) -> Tensor:
        """(seed,) time until, at the present pace, the first pair below `onset` is there."""
        w, pace = self.race.split(self.y)[1], self.race.split(self.slope)[1]
        left = torch.where((pace > 0) & (self.height > 0) & (w < self.goal), (self.goal - w) / pace, torch.inf)
        return left.amin(dim=(0, 1, 2)) * 1.01

    def _height(self, y: Tensor) -> Tensor:
        return correlation(self.race.split(y)[1], self.race.data.q)

    def _loss(self) -> Tensor:
        return -self.race.likelihood().log().mean(dim=0)

    def _accept(self, moved: Tensor, step: Tensor, way: Tensor, slope: Tensor, height: Tensor) -> None:
        """Take the step of the seeds that moved, and apply the stopping rule to them."""
        self.y, self.slope = torch.where(moved, self.y + way, self.y), torch.where(moved, slope, self.slope)
        self.height = torch.where(moved, height, self.height)
        self.time += torch.where(moved, step, 0.0)
        self.loss = torch.where(moved, self._loss(), self.loss)
        self.done |= moved & (self.loss <= (self.train.tolerance or -torch.inf)) & self.race.right()
        if self.train.time is not None:
            self.done |= self.time >= self.train.time * (1 - 1e-6)
        stalled = self.step < 1e-12 * (1 + self.time)
        self.ended |= self.done | stalled | (self.evaluations + MOST_STAGES > self.train.steps)
