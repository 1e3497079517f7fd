"""The gradient flow dw/dt = -dLoss/dw, integrated for each seed by itself.

Escape from a small init is slow, then sudden, then stiff: a fixed step is either slow or kills classes. The
Runge-Kutta-Chebyshev method (order two, explicit) takes as many stages as each seed's stiffness asks for; its stable
step grows with the square of the stages, so a stiff student costs tens of evaluations where a plain method takes hundreds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from viewrace.nets import Params
from viewrace.train.chebyshev import MOST_STAGES, scheme, stable_reach, stages_for
from viewrace.train.objective import Objective, Point, take
from viewrace.train.state import State
from viewrace.train.trace import Trace

__all__ = ["integrate"]

SAFETY, SHRINK, GROW = 0.8, 0.2, 3.0
RADIUS_MARGIN, RADIUS_MEMORY = 1.2, 0.9
FIRST_STEP, LEAST_STEP, TINY = 1e-2, 1e-9, 1e-30


class _Flow:
    """Step control of every seed: step size, estimated spectral radius of the Hessian, gradient at the last point."""

    def __init__(self, objective: Objective, state: State, first: Point, error: float, steps: int, time: float | None):
        self.objective, self.state, self.error, self.steps, self.time = objective, state, error, steps, time
        self.gradient = {name: tensor.clone() for name, tensor in first.gradient.items()}
        count, dtype = len(first.value), first.value.dtype
        self.step = torch.full((count,), FIRST_STEP, dtype=dtype)
        self.radius = torch.zeros(count, dtype=dtype)
        self.calm = torch.ones(count, dtype=torch.bool)
        self.floor = {name: _rows(tensor).square().mean(dim=1).sqrt() for name, tensor in state.params.items()}
        largest = torch.stack(list(self.floor.values())).amax(dim=0)
        self.floor = {name: torch.where(value > 0, value, largest) for name, value in self.floor.items()}

    def advance(self, seeds: Tensor) -> Tensor:
        """Try one step of each seed, those with the same number of stages together. Returns the seeds that moved."""
        affordable = (self.steps - self.state.evaluations[seeds]).clamp(max=MOST_STAGES)
        reach = torch.tensor([stable_reach(most) for most in affordable.tolist()]) / self.radius[seeds].clamp(min=1e-30)
        step = torch.minimum(self.step[seeds], reach.to(self.step.dtype))
        if self.time is not None:
            step = torch.minimum(step, (self.time - self.state.time[seeds]).to(step.dtype))
        self.step[seeds] = step
        wanted = torch.tensor([_bucket(stages_for(value)) for value in (step * self.radius[seeds]).tolist()])
        stages = torch.minimum(wanted, affordable)
        moved = [self._group(seeds[stages == count], int(count)) for count in stages.unique()]
        return torch.cat(moved)

    def _group(self, seeds: Tensor, stages: int) -> Tensor:
        start, slope = take(self.state.params, seeds), take(self.gradient, seeds)
        step = self.step[seeds]
        end, point, radius = self._stages(start, slope, step, seeds, stages)
        self.state.evaluations[seeds] += stages
        radius = RADIUS_MARGIN * torch.nan_to_num(radius, nan=0.0, posinf=0.0)
        self.radius[seeds] = torch.maximum(radius, RADIUS_MEMORY * self.radius[seeds])
        size = self._error(start, end, slope, point.gradient, step, seeds)
        good = size <= 1
        factor = (SAFETY * size.clamp(min=1e-9) ** (-1 / 3)).clamp(SHRINK, GROW)
        self.step[seeds] = step * torch.where(good & ~self.calm[seeds], factor.clamp(max=1.0), factor)
        self.calm[seeds] = good
        moved = seeds[good]
        self.state.accept(moved, end, point, good)
        for name, tensor in point.gradient.items():
            self.gradient[name][moved] = tensor[good]
        self.state.time[moved] += step[good].double()
        self.state.failed[seeds] |= self.step[seeds] < LEAST_STEP * (1 + self.state.time[seeds])
        return moved

    def _stages(self, start: Params, slope: Params, step: Tensor, seeds: Tensor, stages: int) -> tuple[Params, Point, Tensor]:
        first, rest = scheme(stages)
        before = start
        now = {name: start[name] - first * _like(step, start[name]) * slope[name] for name in start}
        last_slope, radius = slope, torch.zeros_like(step)
        point = self.objective.at(now, seeds, count_right=False)
        for index, (mu, nu, move, pull) in enumerate(rest):
            gain = _distance(point.gradient, last_slope) / _distance(now, before).clamp(min=1e-30)
            radius, last_slope = torch.maximum(radius, gain), point.gradient
            following = {
                name: (1 - mu - nu) * start[name]
                + mu * now[name]
                + nu * before[name]
                - _like(step, start[name]) * (move * point.gradient[name] + pull * slope[name])
                for name in start
            }
            before, now = now, following
            point = self.objective.at(now, seeds, count_right=index == len(rest) - 1)
        return now, point, radius

    def _error(self, start: Params, end: Params, slope: Params, new_slope: Params, step: Tensor, seeds: Tensor) -> Tensor:
        """Largest error of any row of weights over what is allowed: `error` x (row norm + a typical row's at init)."""
        worst = torch.zeros_like(step)
        for name, first in start.items():
            estimate = 0.8 * (first - end[name]) - 0.4 * _like(step, first) * (slope[name] + new_slope[name])
            allowed = self.error * (_rows(end[name]) + self.floor[name][seeds, None])
            worst = torch.maximum(worst, (_rows(estimate) / allowed.clamp(min=TINY)).amax(dim=1))
        return torch.nan_to_num(worst, nan=math.inf)


def _like(per_seed: Tensor, tensor: Tensor) -> Tensor:
    return per_seed.view(-1, *(1,) * (tensor.dim() - 1))


def _distance(first: Params, second: Params) -> Tensor:
    squares = [(first[name] - second[name]).flatten(1).square().sum(dim=1) for name in first]
    return torch.stack(squares).sum(dim=0).sqrt()


def _rows(tensor: Tensor) -> Tensor:
    """(seed, row) norms: a row is one neuron's weights; a bias vector is one row."""
    norms = tensor.norm(dim=-1)
    return norms.reshape(len(tensor), -1)


def _bucket(stages: int) -> int:
    """Few distinct numbers of stages, so that seeds share their batches: 2, 3, 4, then steps of a quarter."""
    size = 2
    while size < stages:
        size = max(size + 1, math.floor(size * 1.25))
    return min(size, MOST_STAGES)


def integrate(
    objective: Objective,
    state: State,
    first: Point,
    error: float,
    tolerance: float | None,
    steps: int,
    time: float | None = None,
    watch: Callable[[State], None] | None = None,
    trace: Trace | None = None,
) -> None:
    """Run every seed to its stopping rule; `state` is changed in place, `watch` is called after each round.

    A seed also stops once its time on the flow has reached `time`.
    """
    flow = _Flow(objective, state, first, error, steps, time)
    while len(active := state.settle(objective.hard, tolerance, steps, time, least=2)):
        moved = flow.advance(active)
        if trace is not None and (moved == 0).any():
            trace.add(objective.family, state.params, float(state.time[0]), int(state.evaluations[0]), float(state.value[0]))
        if watch is not None:
            watch(state)
