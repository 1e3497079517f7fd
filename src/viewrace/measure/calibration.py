"""How far probabilities can be trusted: temperature scaling, NLL, Brier score, calibration error.

A network, an ensemble and a student differ in how sure they are, whatever they know. So each is given its own temperature
first (Guo et al. 2017), fitted on other examples than those it is judged on. All work on logits (..., example, class), in
double precision.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BINS", "brier", "cross_fitted", "ece", "fit_temperature", "halves", "nll", "reliability"]

BINS = 15
SHARPEST, SOFTEST = 1e-2, 1e2
ROUNDS, NEAR = 60, 1e-7
MOST_FITTED = 1000


def fit_temperature(logits: Tensor, labels: Tensor) -> Tensor:
    """(...,) the temperature that minimises the NLL of softmax(logits / T) on these examples, between 0.01 and 100.

    The NLL is convex in b = 1 / T with slope E[sum_k p_k z_k - z_y], so its root is the minimum: Newton's steps, halved in
    log b where one leaves the bracket. Networks that are always right have no minimum: they get one so sharp that
    their NLL is 0 to rounding.
    """
    scores = logits.double()
    own = _of_label(scores, labels).mean(dim=-1)
    low, high = torch.full_like(own, 1 / SOFTEST), torch.full_like(own, 1 / SHARPEST)
    inverse = torch.ones_like(own)
    for _ in range(ROUNDS):
        chance = (scores * inverse[..., None, None]).softmax(dim=-1)
        mean = (chance * scores).sum(dim=-1)
        slope = mean.mean(dim=-1) - own
        bend = (chance * (scores - mean[..., None]).square()).sum(dim=(-2, -1)) / scores.shape[-2]
        low, high = torch.where(slope < 0, inverse, low), torch.where(slope < 0, high, inverse)
        step = inverse - slope / bend.clamp(min=1e-300)
        inside = (step >= low) & (step <= high)
        following = torch.where(inside, step, (low * high).sqrt())
        if bool(((following - inverse).abs() <= NEAR * inverse).all()):
            break
        inverse = following
    return 1 / inverse


def halves(labels: Tensor, generator: np.random.Generator) -> Tensor:
    """(example,) bool: a random half of the examples of every class."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        mine = torch.nonzero(labels == label).flatten().numpy()
        odd = int(generator.integers(2))
        chosen[torch.from_numpy(generator.permutation(mine)[: (len(mine) + odd) // 2])] = True
    return chosen


def cross_fitted(logits: Tensor, labels: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (..., example, class) with each half's temperature fitted on the other half, and those temperatures
    (..., 2). No example is judged at a temperature that has seen it. Of more than 1000 examples a half, so many are fitted."""
    scaled = torch.empty_like(logits, dtype=torch.float64)
    found = []
    for judged in (half, ~half):
        others = torch.nonzero(~judged).flatten()
        others = others[:: -(-len(others) // MOST_FITTED)]
        temperature = fit_temperature(logits[..., others, :], labels[others])
        scaled[..., judged, :] = (logits[..., judged, :].double() / temperature[..., None, None]).log_softmax(dim=-1)
        found.append(temperature)
    return scaled, torch.stack(found, dim=-1)


def nll(log_probability: Tensor, labels: Tensor) -> Tensor:
    """(..., example) negative log-likelihood in nats."""
    return -_of_label(log_probability, labels)


def brier(log_probability: Tensor, labels: Tensor) -> Tensor:
    """(..., example) squared error |p - y|^2 of the probabilities, 0 to 2."""
    truth = torch.nn.functional.one_hot(labels, log_probability.shape[-1])
    return (log_probability.exp() - truth).square().sum(dim=-1)


def reliability(log_probability: Tensor, labels: Tensor, bins: int = BINS) -> NDArray[np.float64]:
    """(bin, 3) mean confidence, accuracy and share of the examples, in bins of equal mass; (example, class) in."""
    confidence, predicted = log_probability.exp().max(dim=-1)
    order = confidence.argsort(stable=True)
    pairs = torch.stack([confidence, (predicted == labels).to(confidence.dtype)])[:, order]
    parts = [part for part in pairs.tensor_split(bins, dim=1) if part.shape[1]]
    return np.array([[*part.mean(dim=1).tolist(), part.shape[1] / len(labels)] for part in parts])


def ece(log_probability: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: mean over bins of equal mass of |accuracy - confidence|, 0 to 1.

    It is biased upwards on few examples: a perfect forecaster shows about sqrt(bins / examples) / 3.
    """
    confidence, accuracy, share = reliability(log_probability, labels, bins).T
    return float((share * np.abs(accuracy - confidence)).sum())


def _of_label(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(-1, labels.expand(values.shape[:-1])[..., None])[..., 0]
