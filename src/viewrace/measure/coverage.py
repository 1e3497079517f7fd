"""View coverage C(f): the fraction of (class, view) pairs that a network has learned, by three honest definitions.

`isolated`: a view alone as input; learned if the argmax is its class. The loosest: a trace of correlation is enough.
`margin`: isolated, and the logit is at least a set fraction of what the class's strongest view gives.
`in_context`: accuracy on fresh single-view examples, distractors and noise included (AZL's test error).

All work on logits, so a network, an average of networks and a student are measured alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.data import Distribution
from viewrace.train import Trained

__all__ = [
    "MARGINS",
    "Views",
    "coverage",
    "in_context_accuracy",
    "learned",
    "margin",
    "view_logits",
    "views_of",
]

MARGINS = (0.1, 0.5)
"""Fractions at which `margin` is reported."""


@dataclass(frozen=True)
class Views:
    """Everything the measures need of networks (or of averages of them): no weights, only logits.

    probes: (seed, class, view, probe, class) logits of each view shown alone. single: (seed, example, class) logits of
    fresh single-view examples, with their `labels` (example,).
    """

    probes: Tensor
    single: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.probes)

    def average(self, members: Tensor | slice = slice(None)) -> Views:
        """The ensemble of `members` by averaged logits, as one network."""
        return Views(self.probes[members].mean(0, keepdim=True), self.single[members].mean(0, keepdim=True), self.labels)

    def take(self, seeds: Tensor | slice) -> Views:
        """The networks `seeds` alone."""
        return Views(self.probes[seeds], self.single[seeds], self.labels)


def view_logits(trained: Trained, distribution: Distribution) -> Tensor:
    """(seed, class, view, probe, class) logits of every view shown alone, at amplitude 1, without noise."""
    probes = distribution.probes(every_seat=trained.family.seats_matter)
    logits = trained.logits(probes.flatten(0, 2).to(next(iter(trained.params.values())).dtype))
    return logits.unflatten(1, probes.shape[:3])


def views_of(trained: Trained, distribution: Distribution) -> Views:
    """Show the networks every view alone, and fresh single-view examples."""
    single = distribution.test_single()
    dtype = next(iter(trained.params.values())).dtype
    return Views(view_logits(trained, distribution), trained.logits(single.inputs.to(dtype)), single.labels)


def _own(probes: Tensor) -> Tensor:
    """(seed, class, view, probe): the logit of the view's own class."""
    index = torch.arange(probes.shape[1])
    return probes[:, index, :, :, index].permute(1, 0, 2, 3)


def strength(probes: Tensor) -> Tensor:
    """(seed, class, view): mean logit of a class on each of its views shown alone, 0 where it is negative."""
    return _own(probes).mean(dim=3).clamp(min=0)


def learned(probes: Tensor, fraction: float = 0.0) -> Tensor:
    """(seed, class, view) share of probes on which a view counts as learned: 0 or 1 where there is one probe a view.

    `fraction` 0 is `isolated`; above 0, `margin` at that fraction. A logit that is not positive, or tied with
    another class's, counts as not learned.
    """
    label = torch.arange(probes.shape[1]).view(1, -1, 1, 1)
    own = _own(probes)
    strongest = strength(probes).amax(dim=2)[:, :, None, None]
    alone_on_top = (probes == probes.amax(dim=-1, keepdim=True)).sum(dim=-1) == 1
    right = (probes.argmax(dim=-1) == label) & alone_on_top & (own > 0)
    return (right & (own >= fraction * strongest)).double().mean(dim=3)


def coverage(probes: Tensor, fraction: float = 0.0) -> NDArray[np.float64]:
    """(seed,) view coverage, `isolated` at fraction 0, `margin` above."""
    return learned(probes, fraction).mean(dim=(1, 2)).numpy()


def margin(probes: Tensor) -> NDArray[np.float64]:
    """(seed,) coverage by `margin` at 0.1, the one that claims are judged by."""
    return coverage(probes, MARGINS[0])


def in_context_accuracy(single: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """(seed,) accuracy on single-view examples; logits that are not finite count as wrong."""
    right = (single.argmax(dim=-1) == labels) & torch.isfinite(single).all(dim=-1)
    return right.double().mean(dim=1).numpy()
