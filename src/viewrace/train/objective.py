"""The loss of many networks as a function of their weights: values and gradients, in blocks that stay in cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from viewrace.memory import free_memory
from viewrace.nets import Family, Params
from viewrace.train.losses import HardLoss, Loss
from viewrace.train.penalties import Penalty

__all__ = ["BLOCK_NUMBERS", "Objective", "Point", "block_numbers", "joined", "take"]

BLOCK_NUMBERS = 2_000_000
"""Numbers that a block of seeds may hold at once (8 MB in float32): about the cache, and a bound on memory."""


SHARE = 4
"""One part in this many of a device's free memory is for one block."""


class Point(NamedTuple):
    """Gradients and what the stopping rule needs at one set of weights; every tensor has the seed axis first."""

    gradient: Params
    value: Tensor
    gap: Tensor
    right: Tensor

    def take(self, rows: slice) -> Point:
        """What was measured of the networks `rows`."""
        return Point(take(self.gradient, rows), self.value[rows], self.gap[rows], self.right[rows])

    def scaled(self, weight: float) -> Point:
        """Everything times a weight."""
        return Point({name: weight * tensor for name, tensor in self.gradient.items()}, *(weight * item for item in self[1:]))

    def plus(self, other: Point | None) -> Point:
        """The sum with another point of the same networks; itself where there is none."""
        if other is None:
            return self
        gradient = {name: tensor + other.gradient[name] for name, tensor in self.gradient.items()}
        return Point(gradient, *(mine + theirs for mine, theirs in zip(self[1:], other[1:], strict=True)))

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
    """`loss` of networks of `family` on `inputs`, with a `penalty` where there is one; counts nothing, changes nothing.

    Seeds, and examples where there are many, are taken in blocks, so that memory stays bounded and a block in cache. Inputs
    that are mapped from a file are thus read block by block; the gradient is that of all examples to rounding.
    """

    def __init__(self, family: Family, inputs: Tensor, loss: Loss, penalty: Penalty | None = None):
        self.family, self.inputs, self.loss, self.penalty = family, inputs, loss, penalty
        self.hard = isinstance(loss, HardLoss)
        self.numbers = block_numbers(inputs.device, inputs.dtype)
        rows = max(1, self.numbers // family.activations(1))
        self.parts = list(torch.arange(len(inputs), device=inputs.device).split(rows))
        self.prepared = family.prepare(inputs) if len(self.parts) == 1 else None

    def at(
        self, params: Params, seeds: Tensor, examples: Tensor | None = None, count_right: bool = True, gradient: bool = True
    ) -> Point:
        """Gradient, loss value, gap and fraction of examples right of the networks `seeds`, whose weights are `params`.

        Counting is left out (0) where nobody asks for it, in the inner stages of a step; so is the gradient (empty) where the
        stopping rule alone is asked for. With a mini-batch of `examples` the penalty is whole.
        """
        if examples is not None:
            prepared = self.family.prepare(self.inputs[examples])
            point = self._over_seeds(params, seeds, prepared, examples, count_right, gradient)
        elif self.prepared is not None:
            point = self._over_seeds(params, seeds, self.prepared, None, count_right, gradient)
        else:
            point = self._over_parts(params, seeds, count_right, gradient)
        return point if self.penalty is None or not gradient else self._penalised(params, point, self.penalty)

    def _over_parts(self, params: Params, seeds: Tensor, count_right: bool, gradient: bool) -> Point:
        """The mean over all examples, as the mean of the parts weighed by their size."""
        total: Point | None = None
        for part in self.parts:
            prepared = self.family.prepare(self.inputs[int(part[0]) : int(part[-1]) + 1])
            point = self._over_seeds(params, seeds, prepared, part, count_right, gradient)
            total = point.scaled(len(part) / len(self.inputs)).plus(total)
        assert total is not None
        return total

    def _over_seeds(
        self, params: Params, seeds: Tensor, prepared: Any, examples: Tensor | None, count_right: bool, gradient: bool
    ) -> Point:
        labels = self.loss.labels if examples is None else self.loss.labels[examples]
        points, block = [], max(1, self.numbers // self.family.activations(len(labels)))
        for start in range(0, len(seeds), block):
            rows = slice(start, start + block)
            weights = take(params, rows)
            logits, back = (
                self.family.pullback(weights, prepared) if gradient else (self.family.logits(weights, prepared), _nothing)
            )
            value, residual, gap = self.loss.evaluate(logits, seeds[rows], examples)
            right = _right(logits.mT, labels) if count_right else torch.zeros_like(value)
            points.append(Point(back(residual), value, gap, right))
        return Point.joined(points)

    def _penalised(self, params: Params, point: Point, penalty: Penalty) -> Point:
        """The point with gradient and value of the penalty added."""
        logits, back = self.family.pullback(params, penalty.inputs.to(self.inputs))
        extra, residual = penalty.evaluate(logits)
        more = back(residual)
        gradient = {name: tensor + more[name] for name, tensor in point.gradient.items()}
        return point._replace(gradient=gradient, value=point.value + extra)


def block_numbers(device: torch.device, dtype: torch.dtype) -> int:
    """What a block may hold: about the cache of a processor, a good part of the free memory of another device."""
    if device.type == "cpu":
        return BLOCK_NUMBERS
    return max(BLOCK_NUMBERS, (free_memory(device) or 0) // (SHARE * dtype.itemsize))


def _right(rows: Tensor, labels: Tensor) -> Tensor:
    """(seed,) fraction of the examples whose label has the largest of the logits (seed, class, example), and alone has it."""
    index = labels.expand(len(rows), 1, -1)
    others = rows.scatter(1, index, -torch.inf).amax(dim=1)
    return (rows.gather(1, index).squeeze(1) > others).to(rows.dtype).mean(dim=1)


def _nothing(residual: Tensor) -> Params:
    return {}
