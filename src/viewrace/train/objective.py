"""The loss of many networks as a function of their weights: values and gradients, in blocks that stay in cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from viewrace.nets import Family, Params
from viewrace.train.losses import HardLoss, Loss
from viewrace.train.penalties import Penalty

__all__ = ["BLOCK_NUMBERS", "Objective", "Point", "joined", "take"]

BLOCK_NUMBERS = 2_000_000
"""Numbers that a block of seeds may hold at once (8 MB in float32): about the cache, and a bound on memory."""


class Point(NamedTuple):
    """Gradients and what the stopping rule needs at one set of weights; every tensor has the seed axis first."""

    gradient: Params
    value: Tensor
    gap: Tensor
    right: Tensor

    def take(self, rows: slice) -> Point:
        """What was measured of the networks `rows`."""
        return Point(take(self.gradient, rows), self.value[rows], self.gap[rows], self.right[rows])

    @classmethod
    def joined(cls, points: Sequence[Point]) -> Point:
        """What was measured of several blocks of networks, one after the other."""
        if len(points) == 1:
            return points[0]
        return cls(joined([point.gradient for point in points]), *map(torch.cat, list(zip(*points, strict=True))[1:]))


def take(params: Params, index: Tensor | slice) -> Params:
    """The networks `index` of `params`."""
    return {name: tensor[index] for name, tensor in params.items()}


def joined(parts: Sequence[Params]) -> Params:
    """The networks of all parts, one after the other."""
    return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


class Objective:
    """`loss` of networks of `family` on `inputs`, with a `penalty` where there is one; counts nothing, changes nothing."""

    def __init__(self, family: Family, inputs: Tensor, loss: Loss, penalty: Penalty | None = None):
        self.family, self.inputs, self.loss, self.penalty = family, inputs, loss, penalty
        self.prepared = family.prepare(inputs)
        self.hard = isinstance(loss, HardLoss)

    def at(
        self, params: Params, seeds: Tensor, examples: Tensor | None = None, count_right: bool = True, gradient: bool = True
    ) -> Point:
        """Gradient, loss value, gap and fraction of examples right of the networks `seeds`, whose weights are `params`.

        Counting is left out (0) where nobody asks for it, in the inner stages of a step; so is the gradient (empty) where the
        stopping rule alone is asked for.
        """
        inputs = self.prepared if examples is None else self.family.prepare(self.inputs[examples])
        labels = self.loss.labels if examples is None else self.loss.labels[examples]
        points, block = [], max(1, BLOCK_NUMBERS // self.family.activations(len(labels)))
        for start in range(0, len(seeds), block):
            rows = slice(start, start + block)
            weights = take(params, rows)
            logits, back = self.family.pullback(weights, inputs) if gradient else (self.family.logits(weights, inputs), _nothing)
            value, residual, gap = self.loss.evaluate(logits, seeds[rows], examples)
            right = _right(logits.mT, labels) if count_right else torch.zeros_like(value)
            pull = back(residual)
            if self.penalty is not None and gradient:
                pull, value = self._penalised(weights, pull, value, self.penalty)
            points.append(Point(pull, value, gap, right))
        return Point.joined(points)

    def _penalised(self, params: Params, gradient: Params, value: Tensor, penalty: Penalty) -> tuple[Params, Tensor]:
        """Gradient and value with those of the penalty added; a mini-batch carries the whole of it."""
        logits, back = self.family.pullback(params, penalty.inputs.to(self.inputs.dtype))
        extra, residual = penalty.evaluate(logits)
        more = back(residual)
        return {name: tensor + more[name] for name, tensor in gradient.items()}, value + extra


def _right(rows: Tensor, labels: Tensor) -> Tensor:
    """(seed,) fraction of the examples whose label has the largest of the logits (seed, class, example), and alone has it."""
    index = labels.expand(len(rows), 1, -1)
    others = rows.scatter(1, index, -torch.inf).amax(dim=1)
    return (rows.gather(1, index).squeeze(1) > others).to(rows.dtype).mean(dim=1)


def _nothing(residual: Tensor) -> Params:
    return {}
