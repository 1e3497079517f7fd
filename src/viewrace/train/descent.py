"""Gradient descent: full batch, or mini-batches, with momentum."""

from __future__ import annotations

from collections.abc import Callable

import torch

from viewrace.config import Train
from viewrace.streams import Stream, torch_generator
from viewrace.train.objective import Objective, take
from viewrace.train.state import State

__all__ = ["descend"]

CHECK_EVERY = 10


def descend(objective: Objective, state: State, config: Train, order: int, watch: Callable[[State], None] | None = None) -> None:
    """Run every seed to its stopping rule; `state` is changed in place.

    v <- momentum v - rate gradient, w <- w + v. With `sgd` each evaluation sees one mini-batch; the order of the examples
    comes from the root seed `order` and is the same for all seeds, which so differ in their init alone. The stopping rule
    looks at the whole training set, for sgd once an epoch, for gd every CHECK_EVERY evaluations, and less often where there
    is no tolerance to meet.
    """
    count = len(objective.inputs)
    batches = 1 if config.method == "gd" else max(1, count // config.batch)
    check_every = CHECK_EVERY if config.method == "gd" else batches
    check_every *= CHECK_EVERY if config.tolerance is None else 1
    generator = torch_generator(order, Stream.ORDER)
    velocity = {name: torch.zeros_like(tensor) for name, tensor in state.params.items()}
    active = state.settle(objective.hard, config.tolerance, config.steps)
    done = 0
    while len(active):
        if config.method == "sgd" and done % batches == 0:
            shuffled = torch.randperm(count, generator=generator).tensor_split(batches)
        examples = None if config.method == "gd" else shuffled[done % batches]
        # a slice is a view: while no seed is done nothing need be copied
        rows = slice(None) if len(active) == len(state.done) else active
        point = objective.at(take(state.params, rows), active, examples, count_right=False)
        for name, gradient in point.gradient.items():
            moved = velocity[name][rows].mul_(config.momentum).sub_(gradient, alpha=config.rate)
            if rows is active:
                velocity[name][active] = moved
            state.params[name][rows] += moved
        state.evaluations[active] += 1
        done += 1
        if done % check_every == 0 or int(state.evaluations[active].max()) >= config.steps:
            weights = take(state.params, active)
            state.accept(active, weights, objective.at(weights, active, gradient=False))
            active = state.settle(objective.hard, config.tolerance, config.steps)
            if watch is not None:
                watch(state)
