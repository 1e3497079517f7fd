"""The right-hand side of projected networks, in two parts of unequal speed.

Where h x <= 1 for all examples, act' = (h x)^(q-1), and the force on x is g[f, i] x^(q-1) with one g for all neurons: the neuron
axis leaves both matrix products, and in the coordinate of `coordinate.py` all neurons move by the same progress, the integral
of g. Beyond that, on the linear part of the activation, each (neuron, view, example) is corrected by itself; only a class's
own views get there, and `Race` refuses what starts beyond.

A class learns its own views from its own examples, in a moment; what it feels of the other classes changes little and slowly.
So the two are told apart: `Race.measure` is the whole, `Inner` is the race within some classes before a given background.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight
from viewrace.race.linear_part import LinearPart, Loud
from viewrace.race.projected import Projection

__all__ = ["Inner", "Race", "Rates"]


class Rates(NamedTuple):
    """The whole right-hand side.

    own: (neuron, view, class, seed) dw/dt of a class's own views, float64. across: (feature, class, seed) dw/dt of all other
    pairs. around: (neuron, view, class, seed) the part of `own` that comes from examples of other classes. rival: (row,
    class, seed) log of the sum of exp(logit) of the other classes on an example, less what other classes' features in it
    add to its label's logit. wrong: (row, class, seed) 1 - probability of the label, sigmoid(rival - own logit). odds: (row,
    class, class, seed) probability of every other class, 0 at the label.
    """

    own: Tensor
    across: Tensor
    around: Tensor
    rival: Tensor
    wrong: Tensor
    odds: Tensor


class Race:
    """Networks side by side.

    State: progress (feature, class, seed), by which all neurons of another class move, and own (neuron, view, class, seed), w
    itself, in float64. All else is in `dtype`; float32 is enough, since `Rates.own` is summed in float64.
    """

    def __init__(self, projection: Projection, start: Tensor, dtype: torch.dtype = torch.float32):
        self.data, self.dtype, self.seeds = projection, dtype, start.shape[3]
        self._check(start)
        self.frozen = start.clamp(max=0)
        w = straight(start, projection.q)
        self.begin = self.own(w).clone(memory_format=torch.contiguous_format)
        self.own(w).fill_(-torch.inf)
        self.others = w.to(dtype)
        self._matrices()
        self.linear: LinearPart | None = None
        self.foreign: LinearPart | None = None

    def _check(self, start: Tensor) -> None:
        others = start.clone()
        self.own(others).fill_(0)
        widest = float((others.amax(dim=(0, 2, 3)) * self.data.share.amax(dim=(0, 1))).max())
        if widest >= 1:
            raise ViewraceError(
                f"projected dynamics: correlations across classes must start on the polynomial part, received {widest:.2g} of "
                "its width: lower net.init, or train the full network"
            )

    def _matrices(self) -> None:
        data, dtype = self.data, self.dtype
        rows, classes, count = data.share.shape
        strength = power(data.share, data.q) * data.patches
        logit, rate = strength * (data.rho / data.q), strength / (data.rho * data.examples)
        self.forward = logit.view(-1, count).to(dtype)
        self.backward = rate.view(-1, count).T.to(dtype).contiguous()
        self.inner = data.own(logit).contiguous().to(dtype)
        self.pull = data.own(rate).permute(2, 1, 0).contiguous()
        foreign, quiet = rate.clone(), data.share.clone()
        data.own(foreign).fill_(0)
        data.own(quiet).fill_(0)
        self.elsewhere = foreign.permute(1, 2, 0).to(dtype).contiguous()
        self.label = torch.arange(rows * classes) * classes + torch.arange(classes).repeat(rows)
        self.weight = (data.filled / data.examples).to(dtype)[:, :, None]
        self.loud = Loud(data, data.own(data.share).reshape(rows, count), dtype)
        self.loud_elsewhere = Loud(data, quiet.view(-1, count), dtype)

    def take(self, seeds: Tensor) -> None:
        """Go on with these seeds alone."""
        self.others, self.frozen, self.seeds = self.others[..., seeds], self.frozen[..., seeds], len(seeds)

    def own(self, pairs: Tensor) -> Tensor:
        """A view (neuron, view, class, seed) of pairs (neuron, feature, class, seed): each class with its own views."""
        split = pairs.unflatten(1, (self.data.classes, self.data.views))
        return split.diagonal(dim1=1, dim2=3).transpose(2, 3)

    def correlations(self, progress: Tensor, own: Tensor) -> Tensor:
        """(neuron, feature, class, seed) x, float64."""
        w = self.others.double() + progress
        self.own(w).copy_(own)
        return correlation(w, self.data.q) + self.frozen

    def watch(self, height: Tensor) -> None:
        """From here on `measure` corrects the pairs that are near the linear part at x = `height` (neuron, view, class, seed)."""
        label = torch.arange(self.data.classes).repeat_interleave(self.seeds)
        columns = height.flatten(2)
        self.linear, self.foreign = self.loud.watch(columns, label), self.loud_elsewhere.watch(columns, label)

    def measure(self, progress: Tensor, height: Tensor) -> Rates:
        """Everything, at x = `height` of the own views."""
        data, shape = self.data, (-1, self.data.classes, self.seeds)
        sums = power(correlation(self.others + progress.to(self.dtype), data.q), data.q).sum(dim=0)
        tops = power(height, data.q).sum(dim=0)
        self.own(sums[None])[0].copy_(tops)
        logits = self.forward @ sums.view(data.count, -1)
        if self.foreign is not None:
            foreign_lost = self.foreign.add(height, logits)
        flat = logits.view(-1, self.seeds)
        inner = torch.bmm(self.inner.transpose(0, 1), tops.transpose(0, 1)).transpose(0, 1).contiguous()
        beside = flat.index_select(0, self.label).view(shape) - inner
        if self.linear is not None:
            lost = self.linear.add(height, inner)
        odds = flat.exp_().index_fill_(0, self.label, 0.0).view(-1, data.classes, self.seeds)
        total = odds.sum(dim=1)
        rival = total.log().view(shape) - beside
        wrong = torch.sigmoid(rival - inner)
        odds.mul_((wrong.view_as(total) / total)[:, None])
        across = (self.backward @ odds.view(len(odds), -1)).view(data.count, data.classes, self.seeds).neg_()
        around = self.own(across[None]).expand_as(height).clone(memory_format=torch.contiguous_format)
        if self.foreign is not None:
            self.foreign.dent(around, odds, foreign_lost, -1)
        across += torch.bmm(self.elsewhere, wrong.transpose(0, 1)).transpose(0, 1)
        self.own(across[None]).fill_(0)
        rate = torch.bmm(self.pull.permute(1, 0, 2), wrong.transpose(0, 1).double()).transpose(0, 1)
        own = around.to(torch.float64, copy=True).add_(rate)
        if self.linear is not None:
            self.linear.dent(own, wrong, lost, 1)
        return Rates(own, across, around, rival, wrong, odds.view(-1, data.classes, *odds.shape[1:]))

    def loss(self, wrong: Tensor) -> Tensor:
        """(seed,) cross-entropy, float64."""
        return (self.weight * (1 - wrong).log()).sum(dim=(0, 1)).neg().double()

    def right(self, rates: Rates, seeds: Tensor) -> Tensor:
        """(len(seeds),) whether these seeds have every example's label on top."""
        best = rates.odds[..., seeds].amax(dim=2)
        top = (1 - rates.wrong[..., seeds] >= best) | ~self.data.filled[:, :, None]
        return top.all(dim=0).all(dim=0)


class Inner:
    """The races within some (class, seed) alone, before a background that is given.

    columns: (column,) places class * seeds + seed. Everything here ends in the column axis. rival, wrong: (row, column) as in
    `Rates` at the start of a step; height: (neuron, view, column) x there.
    """

    def __init__(self, race: Race, columns: Tensor, height: Tensor, wrong: Tensor):
        data, self.q = race.data, race.data.q
        label = torch.div(columns, race.seeds, rounding_mode="floor")
        self.inner = race.inner.permute(2, 0, 1).index_select(2, label).unbind()
        self.scale = data.q / (data.rho**2 * data.examples)
        self.wrong = wrong
        self.linear = race.loud.watch(height, label)
        self.dent = torch.zeros_like(height)
        if self.linear is not None:
            self.linear.dent(self.dent, wrong, self.linear.lost(height), -1)

    def change(self, height: Tensor, rival: Tensor) -> Tensor:
        """(neuron, view, column) by how much dw/dt has changed since the start of the step, the background's part left out.

        `rival` is written to.
        """
        tops = power(height, self.q).sum(dim=0)
        logit = self.inner[0] * tops[0]
        for inner, top in zip(self.inner[1:], tops[1:], strict=True):
            logit.addcmul_(inner, top)
        lost = self.linear.add(height, logit) if self.linear is not None else None
        wrong = rival.sub_(logit).sigmoid_()
        more = torch.sub(wrong, self.wrong, out=logit)
        change = torch.stack([(inner * more).sum(dim=0) for inner in self.inner]).mul_(self.scale).expand_as(height)
        if self.linear is not None and lost is not None:
            change = change + self.dent
            self.linear.dent(change, wrong, lost, 1)
        return change
