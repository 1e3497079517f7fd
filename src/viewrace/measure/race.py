"""Who won the race: winners, dominance, effective rank, surviving views, diversity over seeds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.measure.coverage import MARGINS, learned, strength

__all__ = ["centred", "dominance", "effective_rank", "seed_diversity", "surviving_views", "union", "view_shares", "winner"]


def _shares(probes: Tensor) -> Tensor:
    """(seed, class, view) strengths over their sum; equal shares where nothing was learned."""
    value = strength(probes).double()
    total = value.sum(dim=2, keepdim=True)
    return torch.where(total > 0, value / total.clamp(min=1e-300), 1 / value.shape[2])


def centred(probes: Tensor) -> Tensor:
    """Probes' logits less their mean over classes. Softmax does not see that mean, so a loss on raw logits can hide in it."""
    return probes - probes.mean(dim=-1, keepdim=True)


def view_shares(probes: Tensor) -> NDArray[np.float64]:
    """(seed, view) share of each view in its class's strength, mean over classes; for views whose order means something."""
    return _shares(probes).mean(dim=1).numpy()


def winner(probes: Tensor) -> NDArray[np.int64]:
    """(seed, class) the strongest view; -1 where no view of the class has a positive logit."""
    value = strength(probes)
    return torch.where(value.amax(dim=2) > 0, value.argmax(dim=2), -1).numpy()


def dominance(probes: Tensor) -> NDArray[np.float64]:
    """(seed,) largest share of a view in its class's strength, mean over classes: 1/M (none dominates) to 1."""
    return _shares(probes).amax(dim=2).mean(dim=1).numpy()


def effective_rank(probes: Tensor) -> NDArray[np.float64]:
    """(seed,) exp(entropy) of the shares, mean over classes: 1 (one view) to M (all equal). Roy & Vetterli 2007."""
    share = _shares(probes)
    return torch.special.entr(share).sum(dim=2).exp().mean(dim=1).numpy()


def surviving_views(probes: Tensor, fraction: float = 0.1) -> NDArray[np.float64]:
    """(seed,) mean number of views per class whose strength exceeds `fraction` of the strongest."""
    value = strength(probes)
    return (value > fraction * value.amax(dim=2, keepdim=True)).double().sum(dim=2).mean(dim=1).numpy()


def seed_diversity(winners: NDArray[np.int64], views: int) -> NDArray[np.float64]:
    """(class,) entropy over seeds of which view won, over log M: 0 (always the same) to 1 (a fair lottery).

    `winners` is (seed, class) as from `winner`; classes without a winner are left out. With one view it is 0.
    """
    counts = np.stack([(winners == view).sum(axis=0) for view in range(views)], axis=1).astype(np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    entropy = -np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0).sum(axis=1)
    return np.asarray(entropy / np.log(views) if views > 1 else np.zeros(len(counts)))


def union(probes: Tensor, fraction: float = MARGINS[0]) -> float:
    """Coverage of the members' sets together: a view counts as far as some member learned it.

    Reported beside an ensemble's own coverage, never in its place.
    """
    return float(learned(probes, fraction).amax(dim=0).mean())
