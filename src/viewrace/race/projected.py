"""Projected dynamics: the network in the span of the features.

Without noise every patch is a multiple of one feature, so a patch network is a function of its correlations
x[i, r, f] = <w_{i,r}, v_f> / rho alone, and with orthonormal features they move by themselves:

    logit_i(X) = rho C sum_{f, r} act(h_f x[i, r, f]),    dx[i, r, f]/dt = -(C / rho) mean_X residual_i act'(h_f x) h_f,

h_f the amplitude of f in each of its C patches. Where h x <= 1 for all examples, act' = (h x)^(q-1), and the
force on x is g[f, i] x^(q-1) with one g for all neurons: the neuron axis leaves both matrix products, and in the coordinate of
`coordinate.py` all neurons move by the same progress, the integral of g. Beyond that, on the linear part of the activation,
each (neuron, view, example) is corrected by itself. Only a class's own views get there; what starts or ends beyond is refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.config import Settings
from viewrace.data import Distribution
from viewrace.errors import ViewraceError
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight
from viewrace.race.rules import race_rules, refuse_unless

__all__ = ["GROWTH", "NEAR", "Projection", "Race"]

NEAR = 0.5
"""Pairs whose response is above this part of the polynomial width are watched."""
GROWTH = 1.5
"""A watched pair may grow by this factor until it is watched anew."""


class Projection:
    """A training set as the projected dynamics see it: amplitudes, labels, and nothing else.

    share: (example, feature) amplitude of a feature in each of its patches, feature = class * M + view.
    Raises ViewraceError where the network does not live in the span of the features or does not follow the flow, or q < 2.
    """

    def __init__(self, settings: Settings, distribution: Distribution):
        _refuse(settings)
        data, net = settings.data, settings.net
        self.classes, self.views, self.q, self.rho = data.classes, data.views, net.q, net.rho
        self.patches = float(data.patches_per_feature)
        examples = distribution.train()
        self.features = distribution.features.flatten(0, 1).double()
        self.labels = examples.labels
        self.share = examples.amplitude.flatten(1).double() / self.patches
        self.sorted, self.rows = self.share.sort(dim=0, descending=True)
        self.loudest = self.sorted.amax(dim=1)

    def correlations(self, weight: Tensor) -> Tensor:
        """(neuron, feature, class, seed) x of weights (seed, class, neuron, dim)."""
        return (weight.double() @ self.features.T / self.rho).permute(2, 3, 1, 0).contiguous()

    def check(self, x: Tensor) -> None:
        """Raise ViewraceError where a neuron responds to a view of another class beyond the polynomial part, at the start or the
        end of a run, x being (neuron, feature, class, seed)."""
        own = torch.arange(len(self.features)) // self.views
        others = torch.arange(self.classes)[None, :] != own[:, None]
        widest = float((x.amax(dim=(0, 3)) * self.sorted[0][:, None])[others].max())
        if widest >= 1:
            raise ViewraceError(
                f"projected dynamics: correlations across classes must stay on the polynomial part, received {widest:.2g} of its "
                "width: lower net.init or data.distractor_amplitude, or train the full network"
            )

    def lift(self, x: Tensor, initial: Tensor) -> Tensor:
        """Weights (seed, class, neuron, dim) with correlations x; the part outside the span stays as in `initial`."""
        change = (x - self.correlations(initial)).permute(3, 2, 0, 1) * self.rho
        return initial + (change @ self.features).to(initial.dtype)


def _refuse(settings: Settings) -> None:
    data, train = settings.data, settings.train
    rules = [
        *race_rules(settings),
        (data.noise == 0, f"data.noise must be 0, received {data.noise:g}"),
        (data.feature_noise == 0, f"data.feature_noise must be 0, received {data.feature_noise:g}"),
        (not data.cosine_within, f"data.cosine_within must be 0, received {data.cosine_within:g}"),
        (not data.cosine_between, f"data.cosine_between must be 0, received {data.cosine_between:g}"),
        (train.method == "flow", f"train.method must be flow, received {train.method}"),
        (not train.entropy, f"train.entropy must be 0, received {train.entropy:g}"),
        (not train.competition, f"train.competition must be 0, received {train.competition:g}"),
        (not train.view_entropy, f"train.view_entropy must be 0, received {train.view_entropy:g}"),
    ]
    refuse_unless("projected dynamics", rules)


class Race:
    """The right-hand side dy/dt for many seeds.

    State y (row, seed), float64: the progress of every (feature, class), by which all neurons of another class move, then w
    itself for every (neuron, own view, class). Products and softmax are done in `dtype`; float32 is enough, since nothing
    cancels there but in w of the own views near their blow-up, which is kept in float64.
    """

    def __init__(self, projection: Projection, start: Tensor, dtype: torch.dtype = torch.float32):
        self.data, self.dtype = projection, dtype
        self.neurons, self.count, self.classes, self.seeds = start.shape
        projection.check(start)
        self.frozen = start.clamp(max=0)
        w = straight(start, projection.q)
        self.begin = self._own(w).permute(0, 1, 3, 2).contiguous()
        self._own(w).fill_(-torch.inf)
        self.others = w.to(dtype)
        share, examples = projection.share, len(projection.labels)
        power_share = power(share, projection.q) * projection.patches
        self.forward = (power_share * (projection.rho / projection.q)).to(dtype)
        self.backward = (power_share.T / (-projection.rho * examples)).to(dtype).contiguous()
        self.own = torch.arange(examples) * self.classes + projection.labels
        self.rows = self.count * self.classes
        self.height = self.chance = self.residual = torch.empty(0)
        self.beyond: Beyond | None = None

    def origin(self) -> Tensor:
        """The state at the start."""
        progress = torch.zeros(self.rows, self.seeds, dtype=torch.float64)
        return torch.cat([progress, self.begin.reshape(-1, self.seeds)])

    def take(self, seeds: Tensor) -> None:
        """Go on with these seeds alone."""
        self.others, self.frozen, self.seeds = self.others[..., seeds], self.frozen[..., seeds], len(seeds)

    def _own(self, pairs: Tensor) -> Tensor:
        """(neuron, view, seed, class) of pairs (neuron, feature, class, seed): each class with its own views."""
        split = pairs.view(-1, self.classes, self.data.views, self.classes, pairs.shape[-1])
        return split.diagonal(dim1=1, dim2=3)

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The state's two parts: progress (feature, class, seed), own (neuron, view, class, seed)."""
        progress = y[: self.rows].view(self.count, self.classes, self.seeds)
        return progress, y[self.rows :].view(self.neurons, self.data.views, self.classes, self.seeds)

    def correlations(self, y: Tensor) -> Tensor:
        """(neuron, feature, class, seed) x, float64."""
        progress, own = self.split(y)
        w = self.others.double() + progress
        self._own(w).copy_(own.transpose(2, 3))
        return correlation(w, self.data.q) + self.frozen

    def slope(self, y: Tensor) -> Tensor:
        """dy/dt; leaves behind the `height` x of the own views (neuron, view, class, seed), and the
        labels' `chance`."""
        progress, own = self.split(y)
        q = self.data.q
        sums = power(correlation(self.others + progress.to(self.dtype), q), q).sum(dim=0)
        self.height = height = correlation(own, q).to(self.dtype)
        self._own(sums)[0].copy_(power(height, q).sum(dim=0).transpose(1, 2))
        logits = self.forward @ sums.view(self.count, -1)
        beyond = self.beyond
        if beyond is not None:
            value, lost = beyond.at(height)
            logits.view(-1).index_add_(0, beyond.place, value.view(-1))
        residual = self._residual(logits.exp_().view(-1, self.seeds))
        pace = (self.backward @ residual).view(self.count, self.classes, self.seeds)
        out = torch.empty_like(y)
        shared, each = self.split(out)
        shared.copy_(pace)
        each.copy_(self._own(pace)[0].transpose(1, 2))
        if beyond is not None:
            each.view(-1)[beyond.pair] -= (residual.view(-1)[beyond.place].view_as(lost) * lost).sum(dim=0).double()
        return out

    def _residual(self, odds: Tensor) -> Tensor:
        """(example, class x seed) probability, less 1 at the label, of exp(logit) (example x class, seed), written over; that of
        a label is the sum of the others', since 1 - p cancels once p is near 1."""
        own = odds[self.own]
        wrong = odds.index_fill_(0, self.own, 0.0).view(-1, self.classes, self.seeds).sum(dim=1)
        scale = (own + wrong).reciprocal_()
        self.chance, self.residual = own * scale, odds.view(-1, self.classes, self.seeds).mul_(scale[:, None])
        odds.index_copy_(0, self.own, wrong.mul_(scale).neg_())
        return odds.view(len(own), -1)

    def watch(self, height: Tensor) -> None:
        """From here on correct the own pairs that are near the linear part at `height` (neuron, view, class, seed)."""
        tall = height * self.data.loudest[0] > NEAR
        self.beyond = Beyond(self, tall, float(height.max())) if tall.any() else None

    def likelihood(self) -> Tensor:
        """(example, seed) probability of each example's label, at the last point."""
        return self.chance

    def right(self) -> Tensor:
        """(seed,) whether every example has its label on top, at the last point."""
        return (self.chance >= self.residual.amax(dim=1)).all(dim=0)


class Beyond:
    """The own (neuron, view) pairs that some examples drive onto the linear part, each with its loudest examples.

    pair: (pair,) place in the own part of the state. place: (row x pair,) flat place in the logits.
    """

    def __init__(self, race: Race, tall: Tensor, highest: float):
        data, (_, view, label, seed) = race.data, tall.nonzero(as_tuple=True)
        feature = label * data.views + view
        depth = int((data.loudest * highest * GROWTH > 1).sum())
        self.pair = tall.view(-1).nonzero().squeeze(1)
        rows = data.rows[:depth].index_select(1, feature)
        self.place = ((rows * race.classes + label) * race.seeds + seed).view(-1)
        self.share = data.sorted[:depth].index_select(1, feature).to(race.dtype)
        self.q, self.up = data.q, data.patches * data.rho
        self.down = power(self.share, data.q) * (-data.patches / (data.rho * len(data.labels)))

    def at(self, height: Tensor) -> tuple[Tensor, Tensor]:
        """(row, pair) what the linear part adds to a logit over the power law, and what it takes from the progress."""
        reached = (self.share * height.view(-1)[self.pair]).clamp_(min=1)
        bent = power(reached, self.q - 1)
        value = (reached - 1).sub_((bent * reached).sub_(1).div_(self.q)).mul_(self.up)
        return value, bent.reciprocal_().neg_().add_(1).mul_(self.down)
