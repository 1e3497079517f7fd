"""Claim: three depths of the dynamics, each checked against the one below."""

from __future__ import annotations

import numpy as np
import xarray as xr

from viewrace.claims.base import Claim, Scale
from viewrace.claims.dynamics_depths import CLOSE
from viewrace.claims.dynamics_runs import AXES, STARTS, close_up, compared, cost, leaders, where_it_fails
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least, at_most, within
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap

__all__ = ["Dynamics"]

DEVIATION = 1e-4
WINNERS = 0.97
CURVE = 0.03
LEADER = 0.05
HOW = {"growth": "from the measured growth", "raw": "from the correlations alone"}
FORMS = {2: ("linear", "Lotka-Volterra"), 4: ("power", "power form")}


class Dynamics(Claim):
    id = "dynamics"
    title = "Three depths of the dynamics"
    statement = (
        "Without noise a network is its correlations with the views, and nothing else; and each class is a race by itself, in "
        "which views grow as a power and share one loss."
    )
    source = "Allen-Zhu & Li, ICLR 2023 (correlations as the state, the power-law race); equations in docs/dynamics.md"
    protocol = (
        "Projected against full: without noise, the first networks of each root seed, K = 3, 10, 10 classes by scale; all "
        f"weights of the full network integrated in float64 (Dormand-Prince 8(5,3), relative error of a step {CLOSE:g}), the "
        "projected one as it is run by default; the data of both made exact in float64: the orthonormal frame nearest to the "
        "features drawn, and every patch a multiple of one of them. The largest difference of a correlation of a neuron with a "
        "feature, over neurons, features, classes and all steps of the projected run, at equal times, over the largest "
        f"correlation: at most {DEVIATION:g}. Mean-field against full networks as they are trained, noise included, from the "
        f"same initial weights: winners agree in at least {WINNERS:g} of (seed, class) at the preset, from "
        "the correlations alone (raw), and from those that the initial growth on the training data stands for (growth); "
        f"coverage, from growth, less that of the full network differs from 0 by at most {CURVE:g} at every init, q and M. "
        "Lotka-Volterra and power form: the leader's share of its class's correlations at the end, less that of noise-free "
        f"networks, at most {LEADER:g} from 0 at q = 2 and q = 4. A map of where mean-field races fail is drawn, not judged. "
        "Networks per root seed: 1, 2, 5 closely; 4, 24, 100 at the preset; 2, 5, 40 at other points; 2, 4, 20 a cell of the map."
    )
    by_default = False

    def applies(self, settings: Settings) -> str | None:
        data = settings.data
        if (settings.net.family, data.source, data.layout) != ("patch", "features", "patches"):
            return "only a patch network on patches of feature vectors lives in the span of the features"
        if settings.net.q < 3 or settings.train.loss != "ce" or settings.train.tolerance is None:
            return "the race is one of cross-entropy to a loss, with q of 3 or more"
        return None if data.views > 1 and not (data.cosine_within or data.cosine_between) else "views must be several, orthogonal"

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * cost(scale)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [close_up(lab, scale), compared(lab, scale), where_it_fails(lab, scale), leaders(lab, scale)]
        return xr.merge(parts).assign_attrs(views=lab.settings.data.views)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        close = {name: _over_roots(data[name], generator) for name in ("deviation", "trained")}
        checks: list[Check] = [at_most("projected, largest difference of a correlation", DEVIATION, close["deviation"])]
        for start in STARTS:
            found = _at(data, "as set", 0.0, f"{start}_winners", generator)
            checks.append(at_least(f"mean-field, winners, {HOW[start]}", WINNERS, found, law=1.0))
        for axis in AXES:
            at, worst = max(_gaps(data, axis, generator), key=lambda pair: abs(pair[1].value))
            checks.append(within(f"mean-field coverage less the networks', {axis} = {at:g}, the worst", 0.0, worst, CURVE))
        for q, (form, name) in FORMS.items():
            gap = (data[f"leader_{form}"] - data["leader_network"]).sel(q=q)
            checks.append(within(f"{name}, leader's share less the networks', q = {q}", 0.0, _over_roots(gap, generator), LEADER))
        measures = {"trained networks, largest difference from the exact flow": close["trained"]}
        measures |= {
            f"leader's share, q = {q}, {name}": _over_roots(data[f"leader_{name}"].sel(q=q), generator)
            for q, (form, _) in FORMS.items()
            for name in ("start", "network", form)
        }
        return self._verdict(data, checks, _curves(data, generator), measures)


def _over_roots(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    values = values.transpose("root", ...)
    return bootstrap(values.values, generator, np.broadcast_to(values["root"].values[:, None], values.shape))


def _rows(data: xr.Dataset, axis: str, value: float) -> xr.Dataset:
    return data.isel(network=np.flatnonzero((data["axis"].values == axis) & (data["value"].values == value)))


def _values(data: xr.Dataset, axis: str) -> list[float]:
    return sorted(set(data["value"].values[data["axis"].values == axis].tolist()))


def _at(data: xr.Dataset, axis: str, value: float, name: str, generator: np.random.Generator) -> Estimate:
    rows = _rows(data, axis, value)
    return bootstrap(rows[name].values, generator, rows["at"].values)


def _gaps(data: xr.Dataset, axis: str, generator: np.random.Generator) -> list[tuple[float, Estimate]]:
    """Mean-field coverage less the full network's, network by network, at every value."""
    found = []
    for value in _values(data, axis):
        rows = _rows(data, axis, value)
        found.append((value, bootstrap((rows["growth_coverage"] - rows["full"]).values, generator, rows["at"].values)))
    return found


def _curves(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    """Along every axis coverage by each depth and agreement of winners, with the values where it is known; and the map, row by
    row."""
    curves: dict[str, list[float]] = {}
    for axis in dict.fromkeys(data["axis"].values.tolist()):
        curves[axis] = _values(data, axis)
        curves[f"{axis}_n"] = [float(_rows(data, axis, value).sizes["network"]) for value in curves[axis]]
        gaps = [gap for _, gap in _gaps(data, axis, generator)]
        curves |= {f"{axis}_gap_{part}": line for part, line in _parts(gaps).items()}
        for name in ("full", "projected", "growth_coverage", "growth_winners", "raw_winners"):
            known = [value for value in curves[axis] if np.isfinite(_rows(data, axis, value)[name].values).all()]
            curves[f"{axis}_{name}"] = known
            points = [_at(data, axis, value, name, generator) for value in known]
            curves |= {f"{axis}_{name}_{part}": line for part, line in _parts(points).items()}
    for name in ("map_gap", "map_winners"):
        cells = [bootstrap(cell, generator) for cell in data[name].values.reshape(-1, data.sizes["cell"])]
        curves |= {f"{name}_{part}": line for part, line in _parts(cells).items()}
    return curves


def _parts(points: list[Estimate]) -> dict[str, list[float]]:
    return {
        "estimate": [point.value for point in points],
        "low": [point.low for point in points],
        "high": [point.high for point in points],
    }
