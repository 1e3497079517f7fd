"""What is known of every seed while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viewrace.nets import Params
from viewrace.train.objective import Point, take
from viewrace.train.outcome import UNMOVED

__all__ = ["State"]


@dataclass
class State:
    """Weights of all seeds, and for each its loss, gap (at the start, now, and what the tolerance is a fraction of),
    accuracy, evaluations used, time on the flow, and whether it is done or has failed."""

    params: Params
    value: Tensor
    gap: Tensor
    first_gap: Tensor
    reference: Tensor
    right: Tensor
    evaluations: Tensor
    time: Tensor
    done: Tensor
    failed: Tensor

    @classmethod
    def start(cls, params: Params, first: Point, reference: Tensor) -> State:
        """The state at the initial weights; one evaluation is spent."""
        count, device = len(first.value), first.value.device
        return cls(
            params={name: tensor.clone() for name, tensor in params.items()},
            value=first.value.clone(),
            gap=first.gap.clone(),
            first_gap=first.gap.clone(),
            reference=reference,
            right=first.right.clone(),
            evaluations=torch.ones(count, dtype=torch.int64, device=device),
            time=torch.zeros(count, dtype=torch.float64, device=device),
            done=torch.zeros(count, dtype=torch.bool, device=device),
            failed=torch.zeros(count, dtype=torch.bool, device=device),
        )

    def accept(self, seeds: Tensor, params: Params, point: Point, rows: Tensor | slice = slice(None)) -> None:
        """Take over the weights `params[rows]` for `seeds`, with what was measured there."""
        for name, tensor in take(params, rows).items():
            self.params[name][seeds] = tensor
        self.value[seeds], self.gap[seeds], self.right[seeds] = point.value[rows], point.gap[rows], point.right[rows]

    def settle(self, hard: bool, tolerance: float | None, steps: int, time: float | None = None, least: int = 1) -> Tensor:
        """Apply the stopping rule and return the seeds that go on.

        The gap must be at most the tolerance times its reference, and with hard labels every example right; where a time
        is set, a seed that reaches it on the gradient flow is done too. Without a tolerance a seed is done once its steps are
        spent, unless it never left its init. A value that is not finite ends a seed as failed, and one with fewer than
        `least` evaluations left is out of steps.
        """
        if tolerance is None:
            self.done |= (self.evaluations + least > steps) & (self.gap < UNMOVED * self.first_gap)
        else:
            met = self.gap <= tolerance * self.reference
            self.done |= met & (self.right >= 1) if hard else met
        if time is not None:
            self.done |= self.time >= time * (1 - 1e-6)
        self.failed |= ~torch.isfinite(self.value)
        return (~self.done & ~self.failed & (self.evaluations + least <= steps)).nonzero().squeeze(1)
