"""In what state a seed ended."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

__all__ = ["Outcome", "count_outcomes", "judge_outcome"]

UNMOVED = 0.95


class Outcome(IntEnum):
    """The group a seed ends in. Every seed is in exactly one."""

    CONVERGED = 0
    STUCK_AT_INIT = 1
    DEAD_CLASS = 2
    DIVERGED = 3
    OUT_OF_STEPS = 4

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


def judge_outcome(done: Tensor, gap: Tensor, first_gap: Tensor, recall: Tensor) -> Tensor:
    """(seed,) outcomes.

    done: met its stopping rule. gap, first_gap: the stopping quantity at the end and at init. recall: (seed, class)
    accuracy on each class's training examples. Diverged: not finite. Dead class: some class has no example right, while
    others have. Stuck: the gap is still at least 0.95 of what it was. Out of steps: the rest of those that are not done.
    """
    outcome = torch.full(gap.shape, int(Outcome.OUT_OF_STEPS))
    outcome[(recall == 0).any(dim=1) & (recall > 0).any(dim=1)] = int(Outcome.DEAD_CLASS)
    outcome[~done & (gap >= UNMOVED * first_gap)] = int(Outcome.STUCK_AT_INIT)
    outcome[done & (recall > 0).all(dim=1)] = int(Outcome.CONVERGED)
    outcome[~torch.isfinite(gap)] = int(Outcome.DIVERGED)
    return outcome


def count_outcomes(outcome: Tensor) -> dict[str, int]:
    """How many seeds ended in each group, every group named."""
    return {group.label: int((outcome == int(group)).sum()) for group in Outcome}
