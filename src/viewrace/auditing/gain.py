"""Does an ensemble help: levels and gains by number of members, the ceiling ahead, and the cost of a point."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from viewrace.auditing.ceiling import COVERAGE, ENOUGH, fit, fit_best
from viewrace.auditing.table import MEASURES, Look, Table
from viewrace.measure import Estimate

__all__ = ["Ahead", "Gain", "measure_gain"]

SIGN = {"accuracy": 1.0, "nll": -1.0, "brier": -1.0, "ece": -1.0}
FAR = math.log(10_000)


@dataclass(frozen=True)
class Ahead:
    """What the gain in accuracy says beyond the members at hand.

    law: the one that fits better, `averaging` or `coverage`. fitted: its gain at N = 1 .. twice the members. ceiling, enough:
    the gain it is heading for, and the members that reach 95% of it. other_ceiling: what the other law says. views: M of
    the coverage law, None with fewer than four members. per_point: further networks to train, and to run, for each point of
    accuracy that the members at hand have brought.
    """

    law: str
    fitted: tuple[float, ...]
    ceiling: Estimate
    other_ceiling: float
    enough: Estimate
    views: Estimate | None
    per_point: float


@dataclass(frozen=True)
class Gain:
    """What ensembles of each size bring over one member; a gain is an improvement, whichever way the measure runs.

    sizes: N = 1 .. members. single, ensemble: levels of one member (mean over them) and of all. gains: of all over one.
    curves: the gain at each size, by `accuracy`, `nll`, `brier`. ahead: None where the interval of the gain in accuracy
    reaches 0, so that there is nothing to extrapolate.
    """

    sizes: tuple[int, ...]
    single: dict[str, Estimate]
    ensemble: dict[str, Estimate]
    gains: dict[str, Estimate]
    curves: dict[str, tuple[Estimate, ...]]
    ahead: Ahead | None


def measure_gain(table: Table) -> Gain:
    """All of it from the scores of the subsets."""
    members = table.members
    sizes = tuple(range(1, members + 1))
    gains = {name: _gain(table, name, members) for name in MEASURES}
    return Gain(
        sizes,
        single={name: table.level(name, 1) for name in MEASURES},
        ensemble={name: table.level(name, members) for name in MEASURES},
        gains=gains,
        curves={name: tuple(_gain(table, name, size) for size in sizes) for name in MEASURES[:3]},
        ahead=_ahead(table) if gains["accuracy"].low > 0 else None,
    )


def _gain(table: Table, name: str, size: int) -> Estimate:
    return table.estimate(lambda look: SIGN[name] * (look.level(name, size) - look.level(name, 1)))


def _ahead(table: Table) -> Ahead:
    best, other = fit_best(*_curve(Look(table)))
    views = table.estimate(lambda look: fit(COVERAGE, *_curve(look)).views) if table.members >= ENOUGH else None
    return Ahead(
        law=best.law,
        fitted=tuple(best.gain(size) for size in range(1, 2 * table.members + 1)),
        ceiling=table.estimate(lambda look: fit(best.law, *_curve(look)).ceiling),
        other_ceiling=other.ceiling,
        enough=_exp(table.estimate(lambda look: math.log(fit(best.law, *_curve(look)).enough))),
        views=None if views is None else replace(views, low=max(views.low, 1.0)),
        per_point=(table.members - 1) / (100 * best.gain(table.members)),
    )


def _curve(look: Look) -> tuple[np.ndarray, np.ndarray, float]:
    """Sizes, gains in accuracy, and the most that can be gained."""
    one = look.level("accuracy", 1)
    sizes = np.arange(1, look.most + 1, dtype=np.float64)
    return sizes, np.array([look.level("accuracy", int(size)) - one for size in sizes]), 1 - one


def _exp(value: Estimate) -> Estimate:
    """The estimate of a logarithm as one of the number; what is beyond any ensemble that one could train is cut."""
    low, high = math.exp(max(value.low, 0.0)), math.exp(min(value.high, FAR))
    return Estimate(math.exp(value.value), low, high, value.n, value.method)
