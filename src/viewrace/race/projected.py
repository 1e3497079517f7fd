"""Projected dynamics: the network in the span of the features.

Without noise every patch is a multiple of one feature, so a patch network is a function of its correlations
x[i, r, f] = <w_{i,r}, v_f> / rho alone, and with orthonormal features they move by themselves:

    logit_i(X) = rho C sum_{f, r} act(h_f x[i, r, f]),    dx[i, r, f]/dt = -(C / rho) mean_X residual_i act'(h_f x) h_f,

h_f the amplitude of f in each of its C patches. Where h x <= 1 for all examples, act' = (h x)^(q-1), and the
force on x is g[f, i] x^(q-1) with one g for all neurons: the neuron axis leaves both matrix products, and in the coordinate of
`coordinate.py` all neurons move by the same progress, the integral of g. Beyond that, on the linear part of the activation,
each (neuron, view, example) is corrected by itself: `excess` is how far a neuron has fallen behind the progress of
its class and view. Only a class's own views get there; `Projection` refuses what starts beyond.
"""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.config import Settings
from viewrace.data import Distribution
from viewrace.errors import ViewraceError
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight

__all__ = ["Projection", "Race"]


class Projection:
    """A training set as the projected dynamics see it: amplitudes, labels, and nothing else.

    share: (example, feature) amplitude of a feature in each of its patches, feature = class * M + view.
    Raises ViewraceError where the network does not live in the span of the features, or q < 2.
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

    def lift(self, x: Tensor, initial: Tensor) -> Tensor:
        """Weights (seed, class, neuron, dim) with correlations x; the part outside the span stays as in `initial`."""
        change = (x - self.correlations(initial)).permute(3, 2, 0, 1) * self.rho
        return initial + (change @ self.features).to(initial.dtype)


def _refuse(settings: Settings) -> None:
    data, net = settings.data, settings.net
    rules = (
        (data.source == "features", f"data.source must be features, received {data.source}"),
        (data.layout == "patches", f"data.layout must be patches, received {data.layout}"),
        (net.family == "patch", f"net.family must be patch, received {net.family}"),
        (data.noise == 0, f"data.noise must be 0, received {data.noise:g}"),
        (data.feature_noise == 0, f"data.feature_noise must be 0, received {data.feature_noise:g}"),
        (not data.cosine_within and not data.cosine_between, "data.cosine_within and data.cosine_between must be 0"),
        (net.q >= 2, f"net.q must be at least 2, received {net.q}"),
        (settings.train.loss == "ce", f"train.loss must be ce, received {settings.train.loss}"),
    )
    for holds, rule in rules:
        if not holds:
            raise ViewraceError(f"projected dynamics: {rule}: set it so, or train the full network")


class Race:
    """The right-hand side dy/dt for many seeds.

    State y (row, seed), float64: the progress of every (feature, class), then the excess of every (neuron, own view,
    class). The products and the softmax are done in `dtype`; float32 is enough, since nothing cancels there.
    """

    def __init__(self, projection: Projection, start: Tensor, dtype: torch.dtype = torch.float32):
        self.data, self.dtype = projection, dtype
        self.neurons, self.count, self.classes, self.seeds = start.shape
        self._check(start)
        self.start, self.frozen = straight(start, projection.q), start.clamp(max=0)
        power_share = power(projection.share, projection.q) * projection.patches
        examples = len(projection.labels)
        self.forward = (power_share * (projection.rho / projection.q)).to(dtype)
        self.backward = (power_share.T / (-projection.rho * examples)).to(dtype).contiguous()
        self.own = torch.arange(examples) * self.classes + projection.labels
        self.rows = self.count * self.classes
        self.x = torch.empty(0)
        self.residual = self.probability = torch.empty(0)

    def _check(self, start: Tensor) -> None:
        own = torch.arange(self.count) // self.data.views
        others = torch.arange(self.classes)[None, :] != own[:, None]
        widest = float((start.amax(dim=(0, 3)) * self.data.sorted[0][:, None])[others].max())
        if widest >= 1:
            raise ViewraceError(
                f"projected dynamics: correlations across classes must start on the polynomial part, received {widest:.2g} of "
                "its width: lower net.init, or train the full network"
            )

    def origin(self) -> Tensor:
        """The state at the start: no progress, no excess."""
        excess = self.neurons * self.data.views * self.classes
        return torch.zeros(self.rows + excess, self.seeds, dtype=torch.float64)

    def take(self, seeds: Tensor) -> None:
        """Go on with these seeds alone."""
        self.start, self.frozen, self.seeds = self.start[..., seeds], self.frozen[..., seeds], len(seeds)

    def _own(self, pairs: Tensor) -> Tensor:
        """(neuron, view, seed, class) view of pairs (neuron, feature, class, seed): each class with its own views."""
        split = pairs.view(self.neurons, self.classes, self.data.views, self.classes, self.seeds)
        return split.diagonal(dim1=1, dim2=3)

    def _excess(self, y: Tensor) -> Tensor:
        return y[self.rows :].view(self.neurons, self.data.views, self.classes, self.seeds).transpose(2, 3)

    def correlations(self, y: Tensor) -> Tensor:
        """(neuron, feature, class, seed) x, float64."""
        w = self.start + y[: self.rows].view(self.count, self.classes, self.seeds)
        self._own(w).sub_(self._excess(y))
        return correlation(w, self.data.q) + self.frozen

    def slope(self, y: Tensor) -> Tensor:
        """dy/dt; leaves behind the correlations `x`, the `residual` (example, class, seed) and each label's `probability`."""
        w = self.start + y[: self.rows].view(self.count, self.classes, self.seeds)
        self._own(w).sub_(self._excess(y))
        self.x = x = correlation(w.to(self.dtype), self.data.q)
        sums = power(x, self.data.q).sum(dim=0).view(self.count, -1)
        logits = self.forward @ sums
        beyond = self._beyond(x)
        if beyond is not None:
            logits.view(-1).index_add_(0, beyond.place.flatten(), beyond.value.flatten())
        residual = logits.exp_().view(-1, self.classes, self.seeds)
        residual.mul_(residual.sum(dim=1, keepdim=True).reciprocal_())
        self.residual, self.probability = residual, residual.view(-1, self.seeds)[self.own]
        residual.view(-1, self.seeds)[self.own] -= 1
        out = torch.zeros_like(y)
        out[: self.rows] = (self.backward @ residual.view(len(residual), -1)).view(self.rows, self.seeds)
        if beyond is not None:
            lost = (residual.view(-1)[beyond.place] * beyond.lost).sum(dim=1)
            self._excess(out)[beyond.index] = lost.double()
        return out

    def _beyond(self, x: Tensor) -> _Beyond | None:
        """Every own (neuron, view) that some example drives onto the linear part, with what the power law gets wrong."""
        own, data = self._own(x), self.data
        view = torch.arange(data.views)[:, None, None] + data.views * torch.arange(self.classes)
        hit = own * data.sorted[0][view].to(x.dtype) > 1
        if not hit.any():
            return None
        index = hit.nonzero(as_tuple=True)
        height = own[index][:, None]
        depth = int((data.loudest * float(height.max()) > 1).sum())
        feature, seed, label = view[index[1], 0, index[3]], index[2], index[3]
        share, rows = data.sorted[:depth, feature].T.to(x.dtype), data.rows[:depth, feature].T
        return _Beyond(data, height, share, index, (rows * self.classes + label[:, None]) * self.seeds + seed[:, None])


class _Beyond:
    """value: what the linear part adds to a logit over the power law. lost: what it takes from the progress. (pair, row)."""

    def __init__(self, data: Projection, height: Tensor, share: Tensor, index: tuple[Tensor, ...], place: Tensor):
        self.index, self.place, q = index, place, data.q
        reached = (share * height).clamp(min=1)
        self.value = data.patches * data.rho * (reached - 1 - (power(reached, q) - 1) / q)
        falls = (1 - power(reached, q - 1).reciprocal()) * power(share, q)
        self.lost = falls * (-data.patches / (data.rho * len(data.labels)))
