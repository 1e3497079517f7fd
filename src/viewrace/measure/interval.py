"""Estimates with an interval, and the number of things they rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["LEVEL", "Estimate", "bootstrap", "bootstrap_difference", "percentiles"]

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
