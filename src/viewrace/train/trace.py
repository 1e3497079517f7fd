"""A film of one network's race: how strongly it responds to every view, along its training."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from viewrace.nets import Family, Params, PatchNet

__all__ = ["Trace"]


@dataclass
class Trace:
    """Records the first seed of a run, at every accepted step.

    features: (class, view, dim). Afterwards time (step,), evaluations (step,), loss (step,) and correlation
    (step, class, view), the largest <w, v> over a class's neurons.
    """

    features: Tensor
    time: list[float] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    correlation: list[Tensor] = field(default_factory=list)

    def add(self, family: Family, params: Params, time: float, evaluations: int, loss: float) -> None:
        """Record the first network of `params`."""
        if not isinstance(family, PatchNet):
            return
        first = {name: tensor[:1] for name, tensor in params.items()}
        self.correlation.append(family.view_correlation(first, self.features)[0].cpu().clone())
        self.time.append(time)
        self.evaluations.append(evaluations)
        self.loss.append(loss)

    def stacked(self) -> Tensor:
        """(step, class, view) correlations."""
        return torch.stack(self.correlation) if self.correlation else torch.empty(0, *self.features.shape[:2])
