"""The growth exponent of a view, measured on the network itself at its init."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.config import Settings
from viewrace.data import Distribution, Examples
from viewrace.nets import MLP, Family, Params, PatchNet
from viewrace.train import HardLoss
from viewrace.train.objective import Objective

__all__ = ["Growth", "Neurons", "measure_growth", "neurons_of"]

FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)
"""What the correlation is multiplied by: an octave down and up from the init."""

MOST_EXAMPLES = 1000


@dataclass(frozen=True)
class Neurons:
    """The first layer as rows of weights, and each view as the input vector such a row sees.

    name: the weight. views: (class, view, dim) unit vectors. own: (class, neuron) which neurons count for a class.
    """

    name: str
    views: Tensor
    own: Tensor

    def rows(self, params: Params) -> Tensor:
        """(seed, neuron, dim)."""
        return params[self.name].flatten(1, -2)

    def correlation(self, weights: Tensor) -> Tensor:
        """(seed, class, view, neuron): <w_r, v> for rows (seed, neuron, dim)."""
        return torch.einsum("srd,kld->sklr", weights, self.views.to(weights.dtype))


def neurons_of(family: Family, distribution: Distribution) -> Neurons | None:
    """The first-layer neurons of a family whose neurons see a view as one vector; None for other families."""
    views = distribution.features
    classes = len(views)
    if isinstance(family, PatchNet):
        own = torch.eye(classes, dtype=torch.bool).repeat_interleave(family.width, dim=1)
        return Neurons("weight", views, own)
    if isinstance(family, MLP):
        spare = family.sizes[0] - views.shape[-1]
        return Neurons("weight_0", torch.nn.functional.pad(views, (0, spare)), torch.ones(classes, family.sizes[1]).bool())
    return None


@dataclass(frozen=True)
class Growth:
    """exponent: (seed,) median over (class, view) of d log(rate) / d log(correlation). evenness: (seed,) how evenly the
    gradient of a class's leading neuron pulls it to the class's views, 1/M (one view) to 1 (all alike). pairs: (class, view)
    pairs of all seeds that were measured; asked: how many there are. examples: training examples that the gradient saw."""

    exponent: NDArray[np.float64]
    evenness: NDArray[np.float64]
    pairs: int
    asked: int
    examples: int


def measure_growth(settings: Settings, neurons: Neurons, family: Family, params: Params, examples: Examples) -> Growth:
    """Log-slope of the growth rate of a view's correlation against the correlation itself, at init.

    For each seed, class i and view l: take the neuron r with the largest <w_r, v_{i,l}> among those that grow, set that
    correlation to FACTORS times its value, leave all else as it is, and fit log <-dLoss/dw_r, v> against log <w_r, v>. For the
    patch network the theory says q - 1 (AZL's gradient; z act'(z a) ~ a^(q-1)); nothing of that is used here.
    """
    params = {name: tensor.double() for name, tensor in params.items()}
    few = slice(0, MOST_EXAMPLES)
    objective = Objective(family, examples.inputs[few].double(), HardLoss(examples.labels[few], settings.train.loss))
    rows = neurons.rows(params)
    start = neurons.correlation(rows)
    rate = _rates(objective, neurons, params)
    grows = neurons.own[None, :, None, :] & (start > 0) & (rate > 0)
    lead = torch.where(grows, start, -1.0).argmax(dim=3, keepdim=True)
    some = grows.any(dim=3)
    speeds = torch.stack([_speed(objective, neurons, params, lead, factor) for factor in FACTORS])
    some &= (speeds > 0).all(dim=0)
    x = torch.tensor(FACTORS, dtype=torch.float64).log()
    x = (x - x.mean()).view(-1, 1, 1, 1)
    slope = (x * speeds.clamp(min=1e-300).log()).sum(dim=0) / x.square().sum()
    exponent = torch.where(some, slope, torch.nan).flatten(1).nanmedian(dim=1).values
    return Growth(
        exponent=exponent.numpy(),
        evenness=_evenness(neurons, start, rate),
        pairs=int(some.sum()),
        asked=some.numel(),
        examples=len(objective.inputs),
    )


def _rates(objective: Objective, neurons: Neurons, params: Params) -> Tensor:
    """(seed, class, view, neuron): growth rate of every correlation on the gradient flow."""
    seeds = torch.arange(len(next(iter(params.values()))))
    gradient = objective.at(params, seeds, count_right=False).gradient
    return neurons.correlation(-neurons.rows(gradient))


def _speed(objective: Objective, neurons: Neurons, params: Params, lead: Tensor, factor: float) -> Tensor:
    """(seed, class, view): growth rate of the leading correlations, each multiplied by `factor`, one view at a time."""
    found = []
    for view in range(lead.shape[2]):
        rows = neurons.rows(params).clone()
        index = lead[:, :, view]
        vectors = neurons.views[:, view].to(rows.dtype)
        length = neurons.correlation(rows)[:, :, view].gather(2, index)
        shift = (factor - 1) * length * vectors
        rows.scatter_add_(1, index.expand(-1, -1, rows.shape[-1]), shift)
        moved = params | {neurons.name: rows.view_as(params[neurons.name])}
        found.append(_rates(objective, neurons, moved)[:, :, view].gather(2, index).squeeze(2))
    return torch.stack(found, dim=2)


def _evenness(neurons: Neurons, start: Tensor, rate: Tensor) -> NDArray[np.float64]:
    """(seed,) mean over classes of (sum g)^2 / (M sum g^2), g the positive pulls on the class's leading neuron."""
    best = torch.where(neurons.own[None, :, None, :], start, -torch.inf).amax(dim=2).argmax(dim=2)
    pull = rate.clamp(min=0).gather(3, best[:, :, None, None].expand(-1, -1, rate.shape[2], 1)).squeeze(3)
    total = pull.square().sum(dim=2) * pull.shape[2]
    even = torch.where(total > 0, pull.sum(dim=2).square() / total.clamp(min=1e-300), torch.nan)
    return even.nanmean(dim=1).numpy()
