"""Where a gain curve is heading: two laws fitted to it, and what they say beyond the members at hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["AVERAGING", "COVERAGE", "ENOUGH", "LAWS", "Fit", "fit", "fit_best"]

AVERAGING, COVERAGE = "averaging", "coverage"
LAWS: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.float64]]] = {
    AVERAGING: lambda size, rate: 1 - 1 / size,
    COVERAGE: lambda size, rate: 1 - rate ** (size - 1),
}
"""Share of the ceiling reached by N members. averaging: 1 - 1/N, noise that averages out, exact for squared error. coverage:
1 - r^(N-1), members that each know a random part; with M equal views r = 1 - 1/M, since 1 - (1 - 1/M)^N less 1/M is
(1 - 1/M) (1 - r^(N-1)) (AZL, Theorem 2)."""
RATES = {AVERAGING: np.zeros(1), COVERAGE: np.linspace(0.02, 0.95, 241)}
ENOUGH = 4
REACHED = 0.95


@dataclass(frozen=True)
class Fit:
    """gain(N) = ceiling x law(N, rate); error is the standard deviation of what is left."""

    law: str
    ceiling: float
    rate: float
    error: float

    def gain(self, size: float) -> float:
        """The fitted gain of an ensemble of that size."""
        return self.ceiling * float(LAWS[self.law](np.array([float(size)]), self.rate)[0])

    @property
    def enough(self) -> float:
        """Members that reach 95% of the ceiling, as a real number: 20 by the law of averaging, whatever the ceiling."""
        left = 1 - REACHED
        return 1 / left if self.law == AVERAGING else 1 + math.log(left) / math.log(self.rate)

    @property
    def views(self) -> float:
        """M of the coverage law: members that each learn one of M equally likely views. Read it for that law alone."""
        return 1 / (1 - self.rate)


@cache
def _shapes(law: str, sizes: tuple[float, ...]) -> NDArray[np.float64]:
    """(rate, size)"""
    return np.stack([LAWS[law](np.array(sizes), rate) for rate in RATES[law]])


def fit(law: str, sizes: NDArray[np.float64], gains: NDArray[np.float64], most: float) -> Fit:
    """Least squares over a grid of rates; for each the best ceiling is in closed form, cut at `most`.

    sizes, gains: (size,), the gain of one member being 0. The error allows for the numbers fitted: one of averaging, two of
    coverage.
    """
    shapes = _shapes(law, tuple(sizes.tolist()))
    ceilings = np.minimum(shapes @ gains / np.square(shapes).sum(axis=1), most)
    squares = np.square(ceilings[:, None] * shapes - gains).sum(axis=1)
    best = int(squares.argmin())
    free = max(len(sizes) - 1 - (1 if law == AVERAGING else 2), 1)
    return Fit(law, float(ceilings[best]), float(RATES[law][best]), math.sqrt(squares[best] / free))


def fit_best(sizes: NDArray[np.float64], gains: NDArray[np.float64], most: float) -> tuple[Fit, Fit]:
    """The law that fits better, and the other one; that of averaging with fewer than four sizes, too few to tell."""
    averaging, coverage = fit(AVERAGING, sizes, gains, most), fit(COVERAGE, sizes, gains, most)
    better = len(sizes) >= ENOUGH and coverage.error < averaging.error
    return (coverage, averaging) if better else (averaging, coverage)
