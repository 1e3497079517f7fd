"""The gradient flow dw/dt = -dLoss/dw, integrated for each seed by itself.

Escape from a small init is slow, then sudden, then stiff: a fixed step is either slow or kills classes. The
Runge-Kutta-Chebyshev method (order two, explicit) takes as many stages as each seed's stiffness asks for; its stable
step grows with the square of the stages, so a stiff student costs tens of evaluations where a plain method takes hundreds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from viewrace.nets import Params
from viewrace.train.chebyshev import MOST_STAGES, coefficients, stable_reach, stages_for
from viewrace.train.objective import Objective, Point, joined, take
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
        self.step = torch.full_like(first.value, FIRST_STEP)
        self.radius = torch.zeros_like(first.value)
        self.calm = torch.ones_like(first.value, dtype=torch.bool)
        self.floor = {name: _rows(tensor).square().mean(dim=1).sqrt() for name, tensor in state.params.items()}
        largest = torch.stack(list(self.floor.values())).amax(dim=0)
        self.floor = {name: torch.where(value > 0, value, largest) for name, value in self.floor.items()}

    def advance(self, seeds: Tensor) -> Tensor:
        """Try one step of each seed, each with as many stages as it needs. Returns the seeds that moved."""
        affordable = (self.steps - self.state.evaluations[seeds]).clamp(max=MOST_STAGES)
        reach = self.step.new_tensor([stable_reach(most) for most in affordable.tolist()]) / self.radius[seeds].clamp(min=1e-30)
        step = torch.minimum(self.step[seeds], reach)
        if self.time is not None:
            step = torch.minimum(step, (self.time - self.state.time[seeds]).to(step.dtype))
        self.step[seeds] = step
        wanted = affordable.new_tensor([_bucket(stages_for(value)) for value in (step * self.radius[seeds]).tolist()])
        stages, order = torch.minimum(wanted, affordable).sort(descending=True, stable=True)
        return self._try(seeds[order], stages)

    def _try(self, seeds: Tensor, stages: Tensor) -> Tensor:
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

    def _stages(self, start: Params, slope: Params, step: Tensor, seeds: Tensor, stages: Tensor) -> tuple[Params, Point, Tensor]:
        """The end of a step, what was measured there, and the largest gain of the gradient between two stages.

        Seeds come with the most stages first, so those that go on are always the first few, and all are evaluated together.
        """
        first, rest = coefficients(stages, step.dtype)
        live = [int((stages > index).sum()) for index in range(int(stages[0]) + 1)]
        before, last_slope, radius = start, slope, torch.zeros_like(step)
        now = {name: start[name] - _like(first * step, start[name]) * slope[name] for name in start}
        ended: list[tuple[Params, Point]] = []
        for index, (here, on) in enumerate(pairwise(live)):
            point = self.objective.at(now, seeds[:here], count_right=on < here)
            if on < here:
                ended.insert(0, (take(now, slice(on, here)), point.take(slice(on, here))))
            if on == 0:
                break
            now, before, last_slope, gradient = (take(item, slice(on)) for item in (now, before, last_slope, point.gradient))
            gain = _distance(gradient, last_slope) / _distance(now, before).clamp(min=1e-30)
            radius[:on] = torch.maximum(radius[:on], gain)
            following = _next(take(start, slice(on)), now, before, gradient, take(slope, slice(on)), step[:on], rest[:on, index])
            before, now, last_slope = now, following, gradient
        return joined([end for end, _ in ended]), Point.joined([point for _, point in ended]), radius

    def _error(self, start: Params, end: Params, slope: Params, new_slope: Params, step: Tensor, seeds: Tensor) -> Tensor:
        """Largest error of any row of weights over what is allowed: `error` x (row norm + a typical row's at init)."""
        worst = torch.zeros_like(step)
        for name, first in start.items():
            estimate = 0.8 * (first - end[name]) - 0.4 * _like(step, first) * (slope[name] + new_slope[name])
            allowed = self.error * (_rows(end[name]) + self.floor[name][seeds, None])
            worst = torch.maximum(worst, (_rows(estimate) / allowed.clamp(min=TINY)).amax(dim=1))
        return torch.nan_to_num(worst, nan=math.inf)


def _next(start: Params, now: Params, before: Params, gradient: Params, slope: Params, step: Tensor, weights: Tensor) -> Params:
    """The next stage, from a step's start, the last two stages and the gradients at the last one and at the start."""
    mu, nu, move, pull = weights.unbind(dim=1)
    found = {}
    for name, tensor in start.items():
        kept, mu_, nu_, move_, pull_ = (_like(each, tensor) for each in (1 - mu - nu, mu, nu, -step * move, -step * pull))
        following = (kept * tensor).addcmul_(mu_, now[name]).addcmul_(nu_, before[name])
        found[name] = following.addcmul_(move_, gradient[name]).addcmul_(pull_, slope[name])
    return found


def _like(per_seed: Tensor, tensor: Tensor) -> Tensor:
    return per_seed.view(-1, *(1,) * (tensor.dim() - 1))


def _distance(first: Params, second: Params) -> Tensor:
    norms = [(first[name] - second[name]).flatten(1).norm(dim=1) for name in first]
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm(dim=0)


def _rows(tensor: Tensor) -> Tensor:
    """(seed, row) norms: a row is one neuron's weights; a bias vector is one row."""
    norms = tensor.norm(dim=-1)
    return norms.reshape(len(tensor), -1)


def _bucket(stages: int) -> int:
    """Few distinct numbers of stages, so that seeds end their steps together: 2, 3, 4, then steps of a quarter."""
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
