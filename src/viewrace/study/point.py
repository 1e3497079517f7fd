"""One point of a phase diagram: a few networks, by the fastest dynamics that is valid there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viewrace.claims import Lab
from viewrace.claims.lab import Bench, Role
from viewrace.config import Settings, Train
from viewrace.errors import ViewraceError
from viewrace.measure import MARGINS, bootstrap, coverage, dominance
from viewrace.nets import PatchNet
from viewrace.race.projected import Projection
from viewrace.race.stiff import settle
from viewrace.race.trajectory import run
from viewrace.streams import Stream, numpy_generator
from viewrace.train import Outcome, evaluate_logits

__all__ = ["FULL", "PROJECTED", "Measured", "measure_point"]

FULL, PROJECTED = 0, 1
RACE_STEPS = 1500
"""Evaluations of the explicit method, enough for most of the race; what is left is stiff."""

ERROR = 3e-5
"""Error of a step of the explicit method: over a run some 2e-4 of the largest correlation, enough for coverage."""

Measured = dict[str, NDArray[np.float64]]
"""What was measured at a point, by name; all but `coverage` are single numbers."""


def measure_point(settings: Settings, root: int, count: int, projected: bool) -> Measured:
    """`coverage` (network,) by margin 0.1 of `count` networks under a root seed, with its mean `margin`, the 95% interval `low`
    to `high` over networks, and `excess` = (margin - 1/M) / (1 - 1/M).

    Beside it: `done`, the share of networks that met their stopping rule; `dominance`; `moved`, the distance from the init
    over the init's norm; `dynamics`, PROJECTED where that was asked for and is valid, else FULL.
    """
    bench = Bench(settings, root)
    found = _projected(bench, count) if projected else None
    start, end, done = found or _full(bench, count)
    shown = bench.distribution.probes()
    probes = evaluate_logits(bench.family(), {"weight": end}, shown.flatten(0, 2)).unflatten(1, shown.shape[:3])
    values = coverage(probes, MARGINS[0])
    estimate = bootstrap(values, numpy_generator(root, Stream.BOOTSTRAP))
    law = 1 / settings.data.views
    moved = (end - start).flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1)
    measured = {
        "coverage": values,
        "margin": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "excess": (estimate.value - law) / (1 - law),
        "done": float(done.double().mean()),
        "dominance": float(dominance(probes).mean()),
        "moved": float(moved.mean()),
        "dynamics": FULL if found is None else PROJECTED,
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in measured.items()}


def _projected(bench: Bench, count: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Weights at the init and at the end, and which seeds met their rule; None where the projected dynamics say no."""
    family, train = bench.family(), bench.settings.train
    if not isinstance(family, PatchNet) or train.method != "flow":
        return None
    weight = family.init(bench.generators(Role.MEMBER, 0, count))["weight"]
    try:
        projection = Projection(bench.settings, bench.distribution)
        raced = run(projection, projection.correlations(weight), _steps(bench, min(train.steps, RACE_STEPS)), error=ERROR)
        ran = settle(projection, raced, _steps(bench, max(train.steps - RACE_STEPS, 1)))
    except ViewraceError:  # says what makes it invalid here: the full network is always valid
        return None
    return weight, projection.lift(ran.correlation, weight), ran.done


def _steps(bench: Bench, steps: int) -> Train:
    return bench.settings.train.model_copy(update={"steps": steps})


def _full(bench: Bench, count: int) -> tuple[Tensor, Tensor, Tensor]:
    networks = Lab(bench.settings, [bench.root]).members(bench, count).trained
    start = networks.family.init(bench.generators(Role.MEMBER, 0, count))["weight"]
    return start, networks.params["weight"], networks.outcome == int(Outcome.CONVERGED)
