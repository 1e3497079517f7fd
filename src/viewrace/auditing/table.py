"""Scores of ensembles of every size: subsets of the members, each with its own temperature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.auditing.spread import group_sums, groups_of, spread
from viewrace.measure import Estimate, all_alike, brier, cross_fitted, ece, halves, nll
from viewrace.train.losses import averaged

__all__ = ["MEASURES", "Look", "Table", "score", "subsets", "tabulate"]

MEASURES = ("accuracy", "nll", "brier", "ece")
"""Accuracy, and after temperature scaling the negative log-likelihood (nats), Brier score, expected calibration error."""
MOST_SUBSETS = 80
BLOCK = 4_000_000


@dataclass(frozen=True)
class Table:
    """What is kept of each scored ensemble: sums over groups of examples, so that any part can be left out.

    inside: (subset, member) bool. sums: by measure (subset, group): `accuracy` counts the right ones, `nll`, `brier`. counts:
    (group,). errors: (subset, 1 + group) calibration error, whole and without each group; NaN for sizes where it is not
    taken. temperature: (subset,).
    """

    inside: NDArray[np.bool_]
    sums: dict[str, NDArray[np.float64]]
    counts: NDArray[np.float64]
    errors: NDArray[np.float64]
    temperature: NDArray[np.float64]
    _levels: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @property
    def members(self) -> int:
        return self.inside.shape[1]

    def levels(self, measure: str, size: int) -> NDArray[np.float64]:
        """(1 + group, 1 + member) mean of a measure over ensembles of that size: of all examples and members (first row and
        column), without a group of examples, without a member."""
        if (measure, size) not in self._levels:
            rows = self.inside.sum(axis=1) == size
            if measure == "ece":
                values = self.errors[rows]
            else:
                sums = self.sums[measure][rows]
                without = (sums.sum(axis=1, keepdims=True) - sums) / (self.counts.sum() - self.counts)
                values = np.column_stack([sums.sum(axis=1) / self.counts.sum(), without])
            kept = np.column_stack([np.ones(rows.sum()), ~self.inside[rows]])
            self._levels[measure, size] = values.T @ kept / np.maximum(kept.sum(axis=0), 1)
        return self._levels[measure, size]

    def level(self, measure: str, size: int) -> Estimate:
        """Mean of a measure over ensembles of `size` members; the interval is cut where the measure ends, and exact where every
        example is right, or none is."""
        found = self.estimate(lambda look: look.level(measure, size))
        if measure == "accuracy" and found.value in (0.0, 1.0):
            return all_alike(found, "examples")
        return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0) if measure == "accuracy" else found.high)

    def estimate(self, statistic: Callable[[Look], float]) -> Estimate:
        """A statistic of the scores with its interval over examples and members."""
        return spread(
            lambda group, member: statistic(Look(self, group, member)), len(self.counts), self.members, int(self.counts.sum())
        )


@dataclass(frozen=True)
class Look:
    """A table seen whole, or without one group of examples or one member."""

    table: Table
    group: int | None = None
    member: int | None = None

    @property
    def most(self) -> int:
        """Members in the largest ensemble that is left."""
        return self.table.members - (self.member is not None)

    def level(self, measure: str, size: int) -> float:
        """Mean of a measure over ensembles of `size` members (of all that are left, where they are fewer)."""
        levels = self.table.levels(measure, min(size, self.most))
        return float(levels[0 if self.group is None else 1 + self.group, 0 if self.member is None else 1 + self.member])


def subsets(members: int, size: int, generator: np.random.Generator) -> list[tuple[int, ...]]:
    """All subsets of that size where they are at most 80, else subsets drawn so that every member is in equally many.

    Drawn ones are windows of random circular orders: none holds a member twice.
    """
    if math.comb(members, size) <= MOST_SUBSETS:
        return list(combinations(range(members), size))
    found: dict[tuple[int, ...], None] = {}
    for _ in range(max(1, MOST_SUBSETS // members)):
        order = generator.permutation(members)
        for first in range(members):
            found[tuple(sorted(int(order[(first + step) % members]) for step in range(size)))] = None
    return list(found)


def tabulate(logits: Tensor, labels: Tensor, rule: str, generator: np.random.Generator) -> Table:
    """Score ensembles of every size from the members' logits (member, example, class), averaged by `rule`."""
    members = len(logits)
    chosen = [subset for size in range(1, members + 1) for subset in subsets(members, size, generator)]
    inside = np.zeros((len(chosen), members), dtype=bool)
    for row, subset in enumerate(chosen):
        inside[row, list(subset)] = True
    with_errors = np.isin(inside.sum(axis=1), (1, members - 1, members))
    half, group = halves(labels, generator), groups_of(labels, generator)
    block = max(1, BLOCK // logits[0].numel())
    parts = []
    for start in range(0, len(chosen), block):
        rows = slice(start, start + block)
        average = torch.cat([averaged(logits[list(subset)], rule) for subset in chosen[rows]])
        parts.append(score(average, labels, half, group, with_errors[rows]))
    sums = {name: np.concatenate([part.sums[name] for part in parts]) for name in parts[0].sums}
    errors, temperature = (np.concatenate([getattr(part, name) for part in parts]) for name in ("errors", "temperature"))
    return Table(inside, sums, parts[0].counts, errors, temperature)


def score(
    logits: Tensor, labels: Tensor, half: Tensor, group: NDArray[np.int64], with_errors: NDArray[np.bool_] | None = None
) -> Table:
    """The scores of some predictors (predictor, example, class), each at its own cross-fitted temperature; each is its own
    only member."""
    scaled, temperature = cross_fitted(logits, labels, half)
    columns = {
        "accuracy": (logits.argmax(dim=-1) == labels).double(),
        "nll": nll(scaled, labels),
        "brier": brier(scaled, labels),
    }
    sums = {name: group_sums(column.numpy(), group) for name, column in columns.items()}
    counts = np.bincount(group).astype(np.float64)
    errors = np.full((len(logits), 1 + len(counts)), np.nan)
    for row in range(len(logits)) if with_errors is None else np.flatnonzero(with_errors):
        errors[row, 0] = ece(scaled[row], labels)
        for left in range(len(counts)):
            kept = torch.from_numpy(group != left)
            errors[row, 1 + left] = ece(scaled[row, kept], labels[kept])
    inside = np.eye(len(logits), dtype=bool)
    return Table(inside, sums, counts, errors, temperature.log().mean(dim=-1).exp().numpy())
