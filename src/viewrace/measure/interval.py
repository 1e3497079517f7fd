"""Estimates with an interval, and the number of things they rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["LEVEL", "Estimate", "all_alike", "bootstrap", "bootstrap_difference", "percentiles", "success_share"]

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% interval. n counts what was resampled; `method` says what that was."""

    value: float
    low: float
    high: float
    n: int
    method: str


def bootstrap(
    values: ArrayLike, generator: np.random.Generator, roots: ArrayLike | None = None, unit: str = "networks"
) -> Estimate:
    """Mean of `values` (n,) with a percentile bootstrap interval over them.

    With `roots` (n,), the root seed of each value, they are resampled within their root (stratified), so that the interval
    speaks of these data sets; where a root has one value alone, over all of them together. The quantiles are widened for
    small n (expanded percentile interval, Hesterberg 2015, section 5). Values that are not finite count as 0: nothing was
    learned there. A single value has the widest interval there is, [0, 1].
    """
    flat = _finite(values)
    groups = np.zeros(len(flat), dtype=int) if roots is None else np.asarray(roots).ravel()
    if min(np.unique(groups, return_counts=True)[1], default=0) < 2:
        groups = np.zeros(len(flat), dtype=int)
    strata = len(np.unique(groups))
    method = f"bootstrap over {unit}" + (f" within {strata} root seeds" if strata > 1 else "")
    if len(flat) < 2:
        return Estimate(float(flat.mean()) if len(flat) else 0.0, 0.0, 1.0, len(flat), method)
    means = _resampled_means(flat, groups, generator)
    low, high = np.quantile(means, _levels(len(flat), strata))
    return Estimate(float(flat.mean()), float(low), float(high), len(flat), method)


def success_share(
    values: ArrayLike, generator: np.random.Generator, roots: ArrayLike | None = None, unit: str = "networks"
) -> Estimate:
    """Share of successes from the share of each unit (n,), 0 to 1: a bootstrap over units; exact where all or none succeeded.

    For tests that are passed or failed, such as winners told, where n units that pass every one leave a bootstrap no width.
    Not for coverage, whose law can be the same number in every network.
    """
    found, flat = bootstrap(values, generator, roots, unit), np.asarray(values, dtype=np.float64).ravel()
    return all_alike(found, unit) if len(flat) > 1 and (np.all(flat == 0) or np.all(flat == 1)) else found


def all_alike(found: Estimate, unit: str) -> Estimate:
    """The estimate of `found.n` independent units that all succeeded (value 1) or all failed (0), with its exact interval.

    n units that all succeed leave a chance of at least ((1 - LEVEL) / 2)^(1/n) that a unit does (Clopper & Pearson 1934). A unit
    that does has share 1 and any other at least 0, so the mean share is at least that too, however the trials within a unit
    (classes of a network) hang together. With root seeds of as many units each it bounds the mean over them (geometric mean
    below arithmetic).
    """
    least = float(((1 - LEVEL) / 2) ** (1 / found.n))
    low, high = (least, 1.0) if found.value == 1 else (0.0, 1 - least)
    return replace(found, low=low, high=high, method=f"exact, {unit} all alike")


def bootstrap_difference(first: ArrayLike, second: ArrayLike, generator: np.random.Generator, unit: str = "networks") -> Estimate:
    """Mean of `first` minus mean of `second`, resampled independently; n is the smaller of the two counts."""
    a, b = _finite(first), _finite(second)
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Estimate(value, -1.0, 1.0, min(len(a), len(b)), f"bootstrap over {unit}")
    spread = _resampled_means(a, np.zeros(len(a)), generator) - _resampled_means(b, np.zeros(len(b)), generator)
    low, high = np.quantile(spread, _levels(min(len(a), len(b)), 1))
    return Estimate(value, float(low), float(high), min(len(a), len(b)), f"bootstrap over {unit}")


def percentiles(value: float, resampled: ArrayLike, count: int, unit: str = "networks") -> Estimate:
    """An estimate that is no mean, with the interval of its values on resampled data, widened for a small `count`."""
    low, high = np.quantile(np.asarray(resampled, dtype=np.float64), _levels(count, 1))
    return Estimate(float(value), float(low), float(high), count, f"bootstrap over {unit}")


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(values, dtype=np.float64).ravel(), nan=0.0, posinf=0.0, neginf=0.0)


def _levels(count: int, strata: int) -> tuple[float, float]:
    """Quantiles to read off: those of a normal at which a t interval with count - strata degrees of freedom ends."""
    free = max(count - strata, 1)
    reach = np.sqrt(count / free) * stats.t.ppf((1 + LEVEL) / 2, free)
    tail = float(stats.norm.cdf(-reach))
    return tail, 1 - tail


def _resampled_means(
    values: NDArray[np.float64], groups: NDArray[np.int64] | NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    total = np.zeros(RESAMPLES)
    for group in np.unique(groups):
        mine = values[groups == group]
        total += mine[generator.integers(len(mine), size=(RESAMPLES, len(mine)))].sum(axis=1)
    return total / len(values)
