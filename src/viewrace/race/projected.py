"""Projected networks: a training set as the correlations with its features see it.

Without noise every patch is a multiple of one feature, so a patch network is a function of its correlations
x[i, r, f] = <w_{i,r}, v_f> / rho alone, and with orthonormal features they move by themselves:

    logit_i(X) = rho C sum_{f, r} act(h_f x[i, r, f]),    dx[i, r, f]/dt = -(C / rho) mean_X residual_i act'(h_f x) h_f,

h_f the amplitude of f in each of its C patches. `rates.py` is the right-hand side, `trajectory.py` integrates it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.config import Settings
from viewrace.data import Distribution
from viewrace.errors import ViewraceError
from viewrace.nets import make_family
from viewrace.nets.activation import smoothed_relu
from viewrace.streams import Stream, torch_generator

__all__ = ["Projection"]

MEMBER = 0
"""Index of the streams of inits from which the networks of a study are drawn."""


class Projection:
    """The examples by class, as amplitudes and nothing else. Feature = class * M + view; float64 throughout.

    share: (row, class, feature) amplitude of a feature in each of its patches, the examples of a class in their order; rows
    that a smaller class lacks show nothing and count for nothing. filled: (row, class) whether there is an example.
    Raises ViewraceError where the network does not live in the span of the features, or does not follow the flow.
    """

    def __init__(self, settings: Settings, distribution: Distribution):
        _refuse(settings)
        data, net = settings.data, settings.net
        self.settings, self.root = settings, distribution.root
        self.classes, self.views, self.q, self.rho = data.classes, data.views, net.q, net.rho
        self.count, self.patches = data.classes * data.views, float(data.patches_per_feature)
        self.features = distribution.features.flatten(0, 1).double()
        examples = distribution.train()
        self.examples = len(examples)
        amplitude = examples.amplitude.flatten(1).double() / self.patches
        places = [(examples.labels == label).nonzero().squeeze(1) for label in range(self.classes)]
        rows = max(len(place) for place in places)
        self.share = torch.zeros(rows, self.classes, self.count, dtype=torch.float64)
        self.filled = torch.zeros(rows, self.classes, dtype=torch.bool)
        for label, place in enumerate(places):
            self.share[: len(place), label] = amplitude[place]
            self.filled[: len(place), label] = True

    def own(self, values: Tensor) -> Tensor:
        """A view (row, class, view) of values (row, class, feature): a class's own views in its examples."""
        return values.unflatten(2, (self.classes, self.views)).diagonal(dim1=1, dim2=2).transpose(1, 2)

    def start(self, count: int, first: int = 0) -> Tensor:
        """(neuron, feature, class, seed) x of the initial weights of the networks `first` to `first + count` that are trained
        under these settings and this root seed."""
        generators = [torch_generator(self.root, Stream.INIT, MEMBER, index) for index in range(first, first + count)]
        return self.correlations(make_family(self.settings.net, self.settings.data).init(generators)["weight"])

    def correlations(self, weight: Tensor) -> Tensor:
        """(neuron, feature, class, seed) x of weights (seed, class, neuron, dim)."""
        return (weight.double() @ self.features.T / self.rho).permute(2, 3, 1, 0).contiguous()

    def lift(self, x: Tensor, initial: Tensor) -> Tensor:
        """Weights (seed, class, neuron, dim) with correlations x; the part outside the span stays as in `initial`."""
        change = (x - self.correlations(initial)).permute(3, 2, 0, 1) * self.rho
        return initial + (change @ self.features).to(initial.dtype)

    def probes(self, x: Tensor) -> Tensor:
        """(seed, class, view, 1, class) logits of every view shown alone at amplitude 1, as measures of coverage take them."""
        response = smoothed_relu(x * (self.rho / self.patches), self.q, self.rho)
        logits = response.sum(dim=0).mul(self.patches).permute(2, 0, 1)
        return logits.unflatten(1, (self.classes, self.views))[:, :, :, None]


def _refuse(settings: Settings) -> None:
    data, net, train = settings.data, settings.net, settings.train
    rules = (
        (data.source == "features", f"data.source must be features, received {data.source}"),
        (data.layout == "patches", f"data.layout must be patches, received {data.layout}"),
        (net.family == "patch", f"net.family must be patch, received {net.family}"),
        (data.noise == 0, f"data.noise must be 0, received {data.noise:g}"),
        (data.feature_noise == 0, f"data.feature_noise must be 0, received {data.feature_noise:g}"),
        (not data.cosine_within, f"data.cosine_within must be 0, received {data.cosine_within:g}"),
        (not data.cosine_between, f"data.cosine_between must be 0, received {data.cosine_between:g}"),
        (net.q >= 2, f"net.q must be at least 2, received {net.q}"),
        (train.loss == "ce", f"train.loss must be ce, received {train.loss}"),
        (train.method == "flow", f"train.method must be flow, received {train.method}"),
        (not train.entropy, f"train.entropy must be 0, received {train.entropy:g}"),
        (not train.competition, f"train.competition must be 0, received {train.competition:g}"),
        (not train.view_entropy, f"train.view_entropy must be 0, received {train.view_entropy:g}"),
    )
    for holds, rule in rules:
        if not holds:
            raise ViewraceError(f"projected dynamics: {rule}: set it so, or train the full network")
