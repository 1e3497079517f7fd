"""Projected networks run to their stopping rule: Dormand-Prince 5(4), every seed with its own step.

A class that learns a view does so in a moment, and meanwhile the others wait: their rates run on in a straight line from the last
step, and so does what a class sees of the others. Only the races that are busy take the stages of the method. The whole is
evaluated at the end of a step; what the lines missed is added there, and counts as error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from viewrace.config import Train
from viewrace.errors import ViewraceError
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight
from viewrace.race.linear_part import GROWTH, NEAR
from viewrace.race.projected import Projection
from viewrace.race.rates import Inner, Race, Rates

__all__ = ["ERROR", "ProjectedFilm", "ProjectedRun", "run_projected"]

ERROR = 3e-5
"""Error allowed in a step, in units of the largest correlation of the network."""

BLOCK = 128
"""Seeds that are integrated together: few enough to stay in cache."""

_NODES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_MOMENTS = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
SAFETY, SHRINK, GROW, FIRST = 0.9, 0.2, 5.0, 0.05
STAGES = 6
LEAP = 1.1
LEAST = 1.0
"""Errors in the progress of smaller correlations count as if at this x: they come up when the correlation has grown."""
ONSET = 0.68
"""A step ends where the first pair's response reaches this part of the polynomial width."""
CALM = 0.5
"""A race is busy where a straight line would miss by more than this part of the error allowed."""
SPARE = 1 / 8
"""Seeds that are done are carried along until they are this part of the block."""


@dataclass
class ProjectedFilm:
    """What the first seed did: time (step,) and correlations (step) of (neuron, feature, class), in units of rho."""

    time: list[float] = field(default_factory=list)
    correlation: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class ProjectedRun:
    """Where every seed ended. correlation: (neuron, feature, class, seed) in units of rho, float64; the rest (seed,).

    done: met the stopping rule. loss: cross-entropy. time: on the gradient flow. evaluations: of the whole right-hand side.
    """

    correlation: Tensor
    done: Tensor
    loss: Tensor
    time: Tensor
    evaluations: Tensor


def run_projected(
    projection: Projection,
    start: Tensor,
    train: Train,
    error: float = ERROR,
    dtype: torch.dtype = torch.float32,
    film: ProjectedFilm | None = None,
) -> ProjectedRun:
    """Integrate from correlations `start` (neuron, feature, class, seed) until each seed meets the rule of `train`.

    The rule is that of the full network: loss at most `train.tolerance` and every example right, at most `train.steps`
    evaluations, at most `train.time`. `error` is what a step may add, in units of the network's largest correlation; `dtype` is
    the format of products, float32 or float64.
    """
    if train.tolerance is None and train.time is None:
        raise ViewraceError(
            "projected dynamics end at a loss or a time, received neither train.tolerance nor train.time: set one of them"
        )
    blocks = []
    for first in range(0, start.shape[3], BLOCK):
        race = Race(projection, start[..., first : first + BLOCK].double(), dtype)
        blocks.append(_Block(race, train, error, film if first == 0 else None).go())
    return ProjectedRun(
        torch.cat([block.correlation for block in blocks], dim=3),
        *(torch.cat(column) for column in zip(*((b.done, b.loss, b.time, b.evaluations) for b in blocks), strict=True)),
    )


class _Point(NamedTuple):
    """Where the seeds of a block are; every tensor ends in the seed axis.

    progress, own: the state of `Race`. height: x of the own views. rate, across, around, rival, wrong: as in `Rates`. The
    slopes: by how much these grew over the last step, per time; gap: how long that was.
    """

    progress: Tensor
    own: Tensor
    height: Tensor
    rate: Tensor
    across: Tensor
    around: Tensor
    rival: Tensor
    wrong: Tensor
    rate_slope: Tensor
    across_slope: Tensor
    around_slope: Tensor
    rival_slope: Tensor
    gap: Tensor


class _Block:
    """Step control of the seeds of one block."""

    def __init__(self, race: Race, train: Train, error: float, film: ProjectedFilm | None):
        self.race, self.train, self.error, self.film = race, train, error, film
        q, count = race.data.q, race.seeds
        self.onset, self.watched = ONSET / race.loud.loudest, NEAR * GROWTH / race.loud.loudest
        self.goal = straight(torch.tensor(self.onset, dtype=race.dtype), q)
        self.alive, self.going = torch.arange(count), torch.ones(count, dtype=torch.bool)
        self.time = torch.zeros(count, dtype=torch.float64)
        self.evaluations = torch.ones(count, dtype=torch.int64)
        self.tallest_across = float(correlation(race.others, q).amax())
        self.busy = torch.ones(race.data.classes, count, dtype=torch.bool)
        self.at, self.rates = self._begin()
        growth = (self.at.rate * self.at.height ** (q - 2)).abs().amax(dim=(0, 1, 2))
        self.step = FIRST / growth.clamp(min=1e-300)
        blank = torch.zeros(count, dtype=torch.float64)
        shape = (len(race.begin), race.data.count, race.data.classes, count)
        self.result = ProjectedRun(
            blank.new_zeros(shape), torch.zeros_like(self.going), blank + torch.nan, blank, torch.zeros_like(self.evaluations)
        )

    def _begin(self) -> tuple[_Point, Rates]:
        race, data = self.race, self.race.data
        progress = torch.zeros(data.count, data.classes, race.seeds, dtype=race.dtype)
        height = correlation(race.begin, data.q).to(race.dtype)
        race.watch(height)
        rates = race.measure(progress, height)
        lines = (torch.zeros_like(value, dtype=race.dtype) for value in rates[:4])
        gap = torch.full((race.seeds,), torch.inf, dtype=torch.float64)
        return _Point(progress, race.begin, height, *rates[:5], *lines, gap), rates

    def go(self) -> ProjectedRun:
        """Step until no seed is left."""
        self._shoot()
        self._settle(self.going)
        while self.race.seeds:
            good = self._attempt()
            if self.film is not None and good[0] and self.alive[0] == 0:
                self._shoot()
            self._settle(good)
        return self.result

    def _attempt(self) -> Tensor:
        """One step of every seed; returns which were accepted."""
        at, race = self.at, self.race
        step = torch.minimum(self.step, self._reach())
        if self.train.time is not None:
            step = torch.minimum(step, self.train.time - self.time)
        small = step.to(race.dtype)
        lean = 0.5 * small * small
        own = torch.addcmul(at.own, at.rate, step).add_(lean * at.rate_slope)
        progress = torch.addcmul(at.progress, at.across, small).add_(lean * at.across_slope)
        line = small * at.rate_slope
        expected, off = line.clone(), torch.zeros_like(line)
        columns = self.busy.view(-1).nonzero().squeeze(1)
        if len(columns):
            self._stages(columns, step, own, expected, off)
        race.watch(at.height)
        rates = self.rates = race.measure(progress, correlation(own, race.data.q).to(race.dtype))
        # what a straight line through two points misses of a parabola through three, integrated over the step
        share = torch.where(at.gap < torch.inf, (2 * step + 3 * at.gap) / (6 * (step + at.gap)), 0.5).to(race.dtype) * small
        change = (rates.own - at.rate).to(race.dtype)
        missed = share * (change - expected)
        own += missed
        missed_across = share * (rates.across - at.across - small * at.across_slope)
        progress += missed_across
        height = correlation(own, race.data.q).to(race.dtype)
        good = self._judge(off, missed, share * (change - line), missed_across, height)
        slopes = (change, rates.across - at.across, rates.around - at.around, rates.rival - at.rival)
        self._move(good, _Point(progress, own, height, *rates[:5], *(slope / small for slope in slopes), step.clone()))
        self.evaluations += 1
        self.time += torch.where(good, step, 0.0)
        self.step = step * torch.where(good, self.factor, self.factor.clamp(max=SAFETY))
        return good

    def _stages(self, columns: Tensor, step: Tensor, own: Tensor, change: Tensor, off: Tensor) -> None:
        """Integrate the busy races, the (class, seed) `columns`: their `own` at the end of the step, the `change` of their rate
        as the stages see it, and the error that the method estimates are written in place."""
        at, race = self.at, self.race

        def pick(values: Tensor) -> Tensor:
            return values.flatten(-2).index_select(-1, columns)

        first, begin, rival, around = pick(at.rate), pick(at.own), pick(at.rival), pick(at.around_slope)
        long = step.index_select(0, columns % race.seeds)
        small, low, pace = long.to(race.dtype), begin.to(race.dtype), (first * long).to(race.dtype)
        drift, around = pick(at.rival_slope).mul_(small), around.mul_(small)
        inner = Inner(race, columns, pick(at.height), pick(at.wrong))
        changes = torch.empty(STAGES, *begin.shape, dtype=race.dtype)
        flat = changes.view(STAGES, -1)
        shift = torch.zeros_like(low)
        for stage, (weights, moment) in enumerate(zip(_NODES, _MOMENTS, strict=True)):
            if stage:
                shift = (torch.tensor(weights[1:], dtype=race.dtype) @ flat[:stage]).view_as(low).mul_(small)
            now = torch.add(low, pace, alpha=moment).add_(shift)
            within = inner.change(correlation(now, race.data.q), torch.add(rival, drift, alpha=moment))
            torch.add(within, around, alpha=moment, out=changes[stage])
        error = (torch.tensor(_ERROR[1:], dtype=race.dtype) @ flat).view_as(low).mul_(small).abs_()
        for target, value in ((own, begin + first * long + shift), (change, changes[-1]), (off, error)):
            target.flatten(-2).index_copy_(-1, columns, value)

    def _judge(self, off: Tensor, missed: Tensor, by_line: Tensor, across: Tensor, height: Tensor) -> Tensor:
        """(seed,) whether the error in x is small enough; leaves the factor by which the step should change, and who is busy.

        A step by which a pair outgrows what is watched is refused as well.
        """
        least = self.race.data.q - 1
        allowed = self.error * height.amax(dim=(0, 1, 2))
        weight = power(height.clamp(min=LEAST), least).div_(allowed)
        method = off.mul_(weight).amax(dim=(0, 1, 2))
        beyond = across.abs().amax(dim=(0, 1)) * (self.tallest_across**least / allowed)
        lines = torch.maximum((missed.abs() * weight).amax(dim=(0, 1, 2)), beyond)
        size = torch.maximum(method, lines)
        slow = torch.minimum(method.clamp(min=1e-12) ** (-1 / 5), lines.clamp(min=1e-12) ** (-1 / 3))
        self.factor = (SAFETY * slow.double()).nan_to_num(nan=SHRINK).clamp(SHRINK, GROW)
        bound = (GROWTH * self.at.height).clamp_(min=self.watched)
        good = (size <= 1) & (height <= bound).all(dim=0).all(dim=0).all(dim=0) & self.going
        busy = ~(by_line.abs().mul_(weight).amax(dim=(0, 1)) * self.factor**3 <= CALM)
        self.busy = torch.where(good, busy, busy | self.busy) & self.going
        return good

    def _move(self, good: Tensor, trial: _Point) -> None:
        """To `trial`, but for the seeds whose step was refused. Its tensors are written to."""
        refused = (~good).nonzero().squeeze(1)
        if len(refused):
            for new, old in zip(trial, self.at, strict=True):
                new.index_copy_(-1, refused, old.index_select(-1, refused))
        self.at = trial

    def _reach(self) -> Tensor:
        """(seed,) time until, at the present pace, the first pair is at `onset`, or above it has grown by LEAP."""
        at, w, rate = self.at, self.at.own.to(self.race.dtype), self.at.rate.to(self.race.dtype)
        goal = torch.where(w < self.goal, self.goal, straight(LEAP * at.height, self.race.data.q))
        left = torch.where((rate > 0) & (at.height > 0), (goal - w) / rate, torch.inf)
        return left.amin(dim=(0, 1, 2)).double() * 1.01

    def _shoot(self) -> None:
        if self.film is not None:
            self.film.time.append(float(self.time[0]))
            self.film.correlation.append(self.race.correlations(self.at.progress, self.at.own)[..., 0])

    def _settle(self, good: Tensor) -> None:
        """Apply the stopping rule to the seeds that moved, and go on without those that are done."""
        loss = self.race.loss(self.at.wrong)
        met = good & (loss <= (self.train.tolerance or -torch.inf))
        if met.any():
            low = met.nonzero().squeeze(1)
            met[low] = self.race.right(self.rates, low)
        if self.train.time is not None:
            met |= self.going & (self.time >= self.train.time * (1 - 1e-6))
        spent = self.evaluations >= self.train.steps
        ended = self.going & (met | spent | (self.step < 1e-12 * (1 + self.time)))
        if ended.any():
            self._record(ended, {"done": met, "loss": loss, "time": self.time, "evaluations": self.evaluations})
        if self.going.sum() <= len(self.going) * (1 - SPARE):
            self._keep(self.going.nonzero().squeeze(1))

    def _record(self, ended: Tensor, columns: Mapping[str, Tensor]) -> None:
        which = self.alive[ended]
        for name, column in columns.items():
            getattr(self.result, name)[which] = column[ended]
        ends = self.race.correlations(self.at.progress, self.at.own)
        self.result.correlation[..., which] = ends[..., ended]
        self.going = self.going & ~ended
        self.busy &= self.going
        self.step = torch.where(self.going, self.step, 0.0)

    def _keep(self, left: Tensor) -> None:
        self.race.take(left)
        self.at = _Point(*(tensor.index_select(-1, left) for tensor in self.at))
        self.step, self.time, self.evaluations = self.step[left], self.time[left], self.evaluations[left]
        self.alive, self.going, self.busy = self.alive[left], self.going[left], self.busy[:, left]
