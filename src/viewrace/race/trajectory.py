"""Projected networks run to their stopping rule: Dormand-Prince 5(4), every seed with its own step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from viewrace.config import Train
from viewrace.nets.activation import power
from viewrace.race.projected import Projection, Race

__all__ = ["ERROR", "Film", "Run", "run"]

ERROR = 3e-5
"""Error allowed in a step, in units of the largest correlation of the network."""

BLOCK = 48
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
LEAST_HEIGHT = 0.3


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
    evaluations, at most `train.time`.
    """
    blocks = []
    for first in range(0, start.shape[3], BLOCK):
        race = Race(projection, start[..., first : first + BLOCK].double(), dtype)
        blocks.append(_Block(race, train, error, film if first == 0 else None).go())
    return Run(
        torch.cat([block.correlation for block in blocks], dim=3),
        *(torch.cat(column) for column in zip(*((b.done, b.loss, b.time, b.evaluations) for b in blocks), strict=True)),
    )


class _Block:
    """Step control of the seeds of one block. A seed that is done leaves it."""

    def __init__(self, race: Race, train: Train, error: float, film: Film | None):
        self.race, self.train, self.error, self.film = race, train, error, film
        count = race.seeds
        self.alive = torch.arange(count)
        self.y = race.origin()
        self.stages = torch.empty(len(_NODES) + 1, *self.y.shape, dtype=torch.float64)
        self.stages[0] = race.slope(self.y)
        growth = (self.stages[0] * self._height() ** (race.data.q - 2)).abs().amax(dim=0)
        self.step = FIRST / growth.clamp(min=1e-300)
        self.time = torch.zeros(count, dtype=torch.float64)
        self.loss = torch.full((count,), torch.nan, dtype=torch.float64)
        self.evaluations = torch.ones(count, dtype=torch.int64)
        self.result = Run(
            torch.zeros(*race.start.shape, dtype=torch.float64),
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
            good = self._attempt()
            self._settle(good)
        return self.result

    def _height(self) -> Tensor:
        """(row, seed): the largest correlation that moves with each row of the state."""
        x = self.race.x
        shared = x.amax(dim=0).view(self.race.rows, -1)
        own = self.race._own(x).transpose(2, 3).reshape(-1, self.race.seeds)
        return torch.cat([shared, own]).double()

    def _attempt(self) -> Tensor:
        """One step of every seed; returns which were accepted."""
        if self.train.time is not None:
            self.step = torch.minimum(self.step, self.train.time - self.time)
        y, stages, race = self.y, self.stages, self.race
        flat = stages.view(len(stages), -1)
        trial = y
        for index, weights in enumerate(_NODES):
            row = torch.tensor(weights, dtype=torch.float64)
            trial = y + (row @ flat[: len(weights)]).view_as(y) * self.step
            stages[index + 1] = race.slope(trial)
        height = self._height()
        off = (torch.tensor(_ERROR, dtype=torch.float64) @ flat).view_as(y).abs() * self.step
        off = off * power(height.clamp(min=LEAST_HEIGHT), race.data.q - 1)
        size = torch.nan_to_num(off.amax(dim=0) / (self.error * height.amax(dim=0)), nan=torch.inf)
        good = size <= 1
        self.evaluations += STAGES
        self.time += torch.where(good, self.step, 0.0)
        self.step = self.step * (SAFETY * size.clamp(min=1e-12) ** (-1 / 5)).clamp(SHRINK, GROW)
        self.y = torch.where(good, trial, y)
        stages[0] = torch.where(good, stages[-1], stages[0])
        if self.film is not None and good[0] and self.alive[0] == 0:
            self._shoot()
        return good

    def _shoot(self) -> None:
        if self.film is not None:
            self.film.time.append(float(self.time[0]))
            self.film.correlation.append(self.race.correlations(self.y)[..., 0])

    def _settle(self, good: Tensor) -> None:
        """Apply the stopping rule to the seeds that moved, and go on without those that are done."""
        self.loss = loss = torch.where(good, -self.race.probability.log().double().mean(dim=0), self.loss)
        met = good & (loss <= self.train.tolerance)
        if met.any():
            met &= (self.race.probability > self.race.residual.amax(dim=1)).all(dim=0)
        if self.train.time is not None:
            met |= self.time >= self.train.time * (1 - 1e-6)
        spent = self.evaluations + STAGES > self.train.steps
        stalled = self.step < 1e-12 * (1 + self.time)
        ended = met | spent | stalled
        if not ended.any():
            return
        which = self.alive[ended]
        for column, value in (("done", met), ("loss", loss), ("time", self.time), ("evaluations", self.evaluations)):
            getattr(self.result, column)[which] = value[ended]
        self.result.correlation[..., which] = self.race.correlations(self.y)[..., ended]
        self._keep((~ended).nonzero().squeeze(1))

    def _keep(self, left: Tensor) -> None:
        self.race.take(left)
        self.y, self.stages = self.y[:, left], self.stages[..., left].contiguous()
        self.step, self.time, self.evaluations = self.step[left], self.time[left], self.evaluations[left]
        self.loss, self.alive = self.loss[left], self.alive[left]
