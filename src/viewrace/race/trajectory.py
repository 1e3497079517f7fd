"""Projected networks run to their stopping rule: Dormand-Prince 5(4), every seed with its own step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from viewrace.config import Train
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight
from viewrace.race.projected import GROWTH, NEAR, Projection, Race

__all__ = ["ERROR", "Film", "Run", "run"]

ERROR = 3e-6
"""Error allowed in a step, in units of the largest correlation of the network: over a run they add up to some 7e-5."""

BLOCK = 96
"""Seeds that are integrated together: few enough to stay in cache."""

_NODES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
SAFETY, SHRINK, GROW, FIRST = 0.9, 0.2, 5.0, 0.05
STAGES = 6
LEAP = 1.2
LEAST = 0.3
"""Errors in the progress of smaller correlations count as if at this x: they come up when the correlation has grown."""
ONSET = 0.68
"""A step ends where the first pair's response reaches this part of the polynomial width."""


@dataclass
class Film:
    """What the first seed did: time (step,) and correlations (step) of (neuron, feature, class), in units of rho."""

    time: list[float] = field(default_factory=list)
    correlation: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """Where every seed ended. correlation: (neuron, feature, class, seed) in units of rho, float64; the rest (seed,).

    done: met the stopping rule. loss: cross-entropy. evaluations: right-hand sides spent.
    """

    correlation: Tensor
    done: Tensor
    loss: Tensor
    time: Tensor
    evaluations: Tensor


def run(
    projection: Projection,
    start: Tensor,
    train: Train,
    error: float = ERROR,
    dtype: torch.dtype = torch.float32,
    film: Film | None = None,
) -> Run:
    """Integrate from correlations `start` (neuron, feature, class, seed) until each seed meets the rule of `train`.

    The rule is that of the full network: loss at most `train.tolerance` and every example right, at most `train.steps`
    evaluations, at most `train.time`. Raises ViewraceError where `Projection.check` does, at the start or the end.
    """
    blocks = []
    for first in range(0, start.shape[3], BLOCK):
        race = Race(projection, start[..., first : first + BLOCK].double(), dtype)
        blocks.append(_Block(race, train, error, film if first == 0 else None).go())
    ends = torch.cat([block.correlation for block in blocks], dim=3)
    projection.check(ends)
    return Run(
        ends,
        *(torch.cat(column) for column in zip(*((b.done, b.loss, b.time, b.evaluations) for b in blocks), strict=True)),
    )


class _Block:
    """Step control of the seeds of one block. A seed that is done leaves it."""

    def __init__(self, race: Race, train: Train, error: float, film: Film | None):
        self.race, self.train, self.error, self.film = race, train, error, film
        count, loudest = race.seeds, float(race.data.loudest[0])
        self.onset, self.watched = ONSET / loudest, NEAR * GROWTH / loudest
        self.goal = straight(torch.tensor(self.onset, dtype=torch.float64), race.data.q)
        self.alive = torch.arange(count)
        self.y = race.origin()
        self.height = self._height()
        race.watch(self.height)
        self.stages = torch.empty(len(_NODES) + 1, *self.y.shape, dtype=torch.float64)
        self.stages[0] = race.slope(self.y)
        growth = (self.stages[0, race.rows :].view_as(self.height) * self.height ** (race.data.q - 2)).abs().amax(dim=(0, 1, 2))
        self.step = FIRST / growth.clamp(min=1e-300)
        self.time = torch.zeros(count, dtype=torch.float64)
        self.loss = torch.full((count,), torch.nan, dtype=torch.float64)
        self.evaluations = torch.ones(count, dtype=torch.int64)
        self.result = Run(
            torch.zeros(race.neurons, race.count, race.classes, count, dtype=torch.float64),
            torch.zeros(count, dtype=torch.bool),
            torch.full((count,), torch.nan, dtype=torch.float64),
            torch.zeros(count, dtype=torch.float64),
            torch.zeros(count, dtype=torch.int64),
        )

    def go(self) -> Run:
        """Step until no seed is left."""
        self._shoot()
        self._settle(torch.ones(self.race.seeds, dtype=torch.bool))
        while self.race.seeds:
            self._settle(self._attempt())
        return self.result

    def _height(self) -> Tensor:
        """(neuron, view, class, seed): x of the own views."""
        return correlation(self.race.split(self.y)[1], self.race.data.q)

    def _attempt(self) -> Tensor:
        """One step of every seed; returns which were accepted."""
        y, stages, race = self.y, self.stages, self.race
        self.step = torch.minimum(self.step, self._reach())
        if self.train.time is not None:
            self.step = torch.minimum(self.step, self.train.time - self.time)
        race.watch(self.height)
        flat = stages.view(len(stages), -1)
        trial = y
        for index, weights in enumerate(_NODES):
            row = torch.tensor(weights, dtype=torch.float64)
            trial = torch.addcmul(y, (row @ flat[: len(weights)]).view_as(y), self.step)
            stages[index + 1] = race.slope(trial)
        height = correlation(race.split(trial)[1], race.data.q)
        off = (torch.tensor(_ERROR, dtype=torch.float64) @ flat).view_as(y).abs_().mul_(self.step)
        good = self._judge(off, height)
        self.evaluations += STAGES
        self.time += torch.where(good, self.step, 0.0)
        self.step = torch.where(good, self.step * self.factor, self.step * self.factor.clamp(max=SAFETY))
        self.y, self.height = torch.where(good, trial, y), torch.where(good, height, self.height)
        stages[0] = torch.where(good, stages[-1], stages[0])
        if self.film is not None and good[0] and self.alive[0] == 0:
            self._shoot()
        return good

    def _judge(self, off: Tensor, height: Tensor) -> Tensor:
        """(seed,) whether the error in x is small enough; leaves the factor by which the step should change.

        A step by which a pair outgrows what is watched is refused as well.
        """
        race, q = self.race, self.race.data.q
        shared, own = race.split(off)
        off_own = (own * power(height.clamp(min=LEAST), q - 1)).amax(dim=(0, 1, 2))
        worst = torch.maximum(off_own, shared.amax(dim=(0, 1)) * LEAST ** (q - 1))
        tallest = height.amax(dim=(0, 1, 2))
        size = torch.nan_to_num(worst / (self.error * tallest), nan=torch.inf)
        self.factor = (SAFETY * size.clamp(min=1e-12) ** (-1 / 5)).clamp(SHRINK, GROW)
        bound = (GROWTH * self.height).clamp_(min=self.watched)
        return (size <= 1) & (height <= bound).all(dim=0).all(dim=0).all(dim=0)

    def _reach(self) -> Tensor:
        """(seed,) time until, at the present pace, the first pair is at `onset`, or above it has grown by LEAP."""
        w, pace = self.race.split(self.y)[1], self.race.split(self.stages[0])[1]
        goal = torch.where(w < self.goal, self.goal, straight(LEAP * self.height, self.race.data.q))
        left = torch.where((pace > 0) & (self.height > 0), (goal - w) / pace, torch.inf)
        return left.amin(dim=(0, 1, 2)) * 1.01

    def _shoot(self) -> None:
        if self.film is not None:
            self.film.time.append(float(self.time[0]))
            self.film.correlation.append(self.race.correlations(self.y)[..., 0])

    def _settle(self, good: Tensor) -> None:
        """Apply the stopping rule to the seeds that moved, and go on without those that are done."""
        self.loss = torch.where(good, -self.race.likelihood().log().double().mean(dim=0), self.loss)
        met = good & (self.loss <= (self.train.tolerance or -torch.inf))
        if met.any():
            met &= self.race.right()
        if self.train.time is not None:
            met |= self.time >= self.train.time * (1 - 1e-6)
        spent = self.evaluations + STAGES > self.train.steps
        stalled = self.step < 1e-12 * (1 + self.time)
        ended = met | spent | stalled
        if not ended.any():
            return
        which = self.alive[ended]
        for column, value in (("done", met), ("loss", self.loss), ("time", self.time), ("evaluations", self.evaluations)):
            getattr(self.result, column)[which] = value[ended]
        self.result.correlation[..., which] = self.race.correlations(self.y)[..., ended]
        self._keep((~ended).nonzero().squeeze(1))

    def _keep(self, left: Tensor) -> None:
        self.race.take(left)
        self.y, self.stages = self.y[:, left], self.stages[..., left].contiguous()
        self.height = self.height[..., left]
        self.step, self.time, self.evaluations = self.step[left], self.time[left], self.evaluations[left]
        self.loss, self.alive = self.loss[left], self.alive[left]
