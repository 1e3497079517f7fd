"""The assumptions that the theory makes of its data, measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from viewrace.data.distribution import Distribution
from viewrace.errors import ViewraceError

__all__ = ["DataReport", "check"]

ROUNDING = 1e-4


@dataclass(frozen=True)
class DataReport:
    """What `check` found.

    probe_accuracy: A1, accuracy per view of a linear probe, trained and tested on examples that show that view alone.
    largest_cosine: A2, largest |cosine| between two views.
    norm_ratio: A3, largest over smallest strength (norm of what a view shows, on average over examples).
    views_shown: fraction of training examples that show 1, 2, .. M of their label's views.
    dropped: distracting views per training example that found no free patch.
    """

    probe_accuracy: tuple[float, ...]
    largest_cosine: float
    norm_ratio: float
    views_shown: tuple[float, ...]
    dropped: float

    @property
    def single_view_fraction(self) -> float:
        """Fraction of training examples that show exactly one view: what forbids the race when it is large."""
        return self.views_shown[0]


def check(distribution: Distribution) -> DataReport:
    """Measure A1 (each view suffices alone), A2 (views nearly orthogonal), A3 (comparable norms) and the views shown."""
    config = distribution.config
    train = distribution.train()
    strength = torch.tensor(config.view_strength)
    plain = train.own_amplitude / strength
    active = plain > config.weak_amplitude * (1 + ROUNDING)
    counts = torch.bincount(active.sum(dim=1).clamp(min=1), minlength=config.views + 1)[1:]
    unit = torch.nn.functional.normalize(distribution.features.flatten(0, 1).double(), dim=1)
    cosine = (unit @ unit.T).fill_diagonal_(0.0).abs().max()
    norms = torch.stack([own[on].mean() for own, on in zip(train.own_amplitude.T, active.T, strict=True) if on.any()])
    return DataReport(
        probe_accuracy=_probe(distribution),
        largest_cosine=float(cosine),
        norm_ratio=float(norms.max() / norms.min()),
        views_shown=tuple((counts / len(train)).tolist()),
        dropped=train.dropped / len(train),
    )


def _probe(distribution: Distribution) -> tuple[float, ...]:
    """A1 for each view: a linear classifier of pooled patches, fitted on half the single-view examples, tested on the rest."""
    from sklearn.linear_model import LogisticRegression

    single = distribution.test_single()
    view = (single.own_amplitude / torch.tensor(distribution.config.view_strength)).argmax(dim=1)
    pooled = single.inputs.sum(dim=1)
    result = []
    for index in range(distribution.config.views):
        rows = (view == index).nonzero().squeeze(1)
        first, second = rows[::2], rows[1::2]
        if len(single.labels[first].unique()) < 2 or not len(second):
            raise ViewraceError(
                f"check needs examples of two classes for each view, received data.test_examples = {len(single)}: raise it"
            )
        probe = LogisticRegression(C=100.0, max_iter=1000).fit(pooled[first].numpy(), single.labels[first].numpy())
        result.append(float(probe.score(pooled[second].numpy(), single.labels[second].numpy())))
    return tuple(result)
