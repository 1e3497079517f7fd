"""The linear part of the activation: what it takes from the power law, for the pairs that some examples drive there."""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.nets.activation import power
from viewrace.race.projected import Projection

__all__ = ["GROWTH", "NEAR", "LinearPart", "Loud"]

NEAR = 0.8
"""Pairs whose response is above this part of the polynomial width are watched."""
GROWTH = 1.25
"""A watched pair may grow by this factor until it is watched anew, and no other may outgrow NEAR x GROWTH = 1."""


class Loud:
    """The examples that show each feature, loudest first. amplitude: (row, feature), float64; kept as (rank, feature)."""

    def __init__(self, data: Projection, amplitude: Tensor, dtype: torch.dtype):
        self.data = data
        share, self.row = amplitude.sort(dim=0, descending=True)
        self.loudest = float(share[0].amax())
        self.most = share.amax(dim=1)
        self.share = share.to(dtype)
        self.down = power(self.share, data.q) * (data.patches / (data.rho * data.examples))

    def watch(self, height: Tensor, label: Tensor) -> LinearPart | None:
        """The pairs near the linear part at x = `height` (neuron, view, column), columns of class `label`; None if none is."""
        tall = height * self.loudest > NEAR
        return LinearPart(self, tall, label, float(height.max())) if tall.any() else None


class LinearPart:
    """Pairs (neuron, own view) with their loudest examples.

    pair: (pair,) place among (neuron, view, column). place: (rank, pair) place among (row, column).
    """

    def __init__(self, loud: Loud, tall: Tensor, label: Tensor, highest: float):
        self.pair = tall.view(-1).nonzero().squeeze(1)
        column = self.pair % len(label)
        view = torch.div(self.pair, len(label), rounding_mode="floor") % loud.data.views
        feature = label.index_select(0, column) * loud.data.views + view
        depth = int((loud.most * highest * GROWTH > 1).sum())
        self.place = loud.row[:depth].index_select(1, feature) * len(label) + column
        self.share, self.down = loud.share[:depth].index_select(1, feature), loud.down[:depth].index_select(1, feature)
        self.q, self.up = loud.data.q, loud.data.patches * loud.data.rho

    def add(self, height: Tensor, logit: Tensor) -> Tensor:
        """Add to `logit` (row, column) what the linear part gives over the power law; returns what `dent` needs."""
        reached = self._reached(height)
        bent = power(reached, self.q - 1)
        value = (1 - bent / self.q).mul_(reached).sub_(1 - 1 / self.q).mul_(self.up)
        logit.view(-1).index_add_(0, self.place.view(-1), value.view(-1))
        return self._lost(bent)

    def lost(self, height: Tensor) -> Tensor:
        """(rank, pair) what the linear part takes from dw/dt, per unit of the example's residual."""
        return self._lost(power(self._reached(height), self.q - 1))

    def dent(self, rate: Tensor, wrong: Tensor, lost: Tensor, sign: int) -> None:
        """Take from `rate` (neuron, view, column) what the linear part takes, residuals being `wrong` (row, column) x sign."""
        residual = wrong.view(-1).index_select(0, self.place.view(-1)).view_as(lost)
        rate.view(-1).index_add_(0, self.pair, (residual * lost).sum(dim=0).to(rate.dtype), alpha=-sign)

    def _reached(self, height: Tensor) -> Tensor:
        return (self.share * height.view(-1).index_select(0, self.pair)).clamp_(min=1)

    def _lost(self, bent: Tensor) -> Tensor:
        return bent.reciprocal_().neg_().add_(1).mul_(self.down)
