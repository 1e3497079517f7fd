"""The laws are asymptotic: how far a finite setting is from 1/M, and what the excess is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from viewrace import theory
from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, within
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap, in_context_accuracy, margin
from viewrace.presets import preset

__all__ = ["AXES", "FiniteSize"]

NETWORKS = {Scale.SMOKE: 2, Scale.QUICK: 4, Scale.FULL: 30}
POINTS = {Scale.SMOKE: 2, Scale.QUICK: 3, Scale.FULL: 8}
AT_ONE = "@rho=1"
LIMIT = 0.03
SMOOTH = 0.15

AXES: dict[str, tuple[float, ...]] = {
    "net.rho": (1, 2, 3, 5, 8, 12, 20, 30),
    "net.init": (0.2, 0.15, 0.1, 0.07, 0.05, 0.035, 0.025, 0.0175),
    "net.q": (1, 2, 3, 4, 5),
    "data.distractors": (5, 4, 3, 2, 1.5, 1, 0.5, 0),
    "train.tolerance": (0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2),
    "data.classes": (5, 7, 8, 10, 12, 15, 17, 20),
    "net.width": (3, 4, 5, 6, 7, 8, 10, 12),
}
"""What is varied, each alone around the preset, from where the law should fail towards where it should hold (for the
first five), or over sizes nobody chose (the last two)."""
LINEAR = ("net.init", "data.distractors", "train.tolerance")
"""What is varied at rho = 1 as well, where a trained network's logit comes from the linear part of the activation."""


class FiniteSize(Claim):
    id = "finite-size"
    title = "The excess over 1/M, and its limit"
    statement = "Coverage of a single network tends to 1/M as the race sharpens; the excess is a finite-size correction."
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 1 (asymptotic in K, q >= 3, small init); mechanism in docs/finite-size.md"
    protocol = (
        "One setting at a time is varied around the preset: rho, init, q, distractor rate, stopping loss, number of classes, "
        "width; init, distractors and stopping loss at rho = 1 too (smoke leaves out what is not judged). "
        "The limit is judged at the sharp end of rho, init and q: margin-0.1 coverage within "
        f"{LIMIT} of 1/M with its whole interval. Sizes nobody chose (K = 5..20, width 3..12) must stay within {SMOOTH}. "
        "Networks per point and root seed: 2, 4, 30; points per axis: 2, 3, all."
    )
    by_root = True

    def applies(self, settings: Settings) -> str | None:
        return None if settings.data.source == "features" else "the sweep is defined for source = features"

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * NETWORKS[scale] * len(_points(scale))

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        rows = [_point(lab, series, value, scale) for series, value in _points(scale)]
        data = xr.concat(rows, dim="point")
        return data.assign_attrs(views=lab.settings.data.views)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator, views = self._generator(data), int(data.attrs["views"])
        law = theory.single_coverage(views)
        checks: list[Check] = []
        for axis in ("net.rho", "net.init", "net.q"):
            rows = data.isel(point=np.flatnonzero(data["axis"].values == axis))
            sharp = rows.isel(point=int(_sharpness(axis, rows["value"].values).argmax()))
            name = f"limit: {axis} = {float(sharp['value']):g}"
            checks.append(within(name, law, _estimate(sharp["margin"], generator), LIMIT))
        for axis in ("data.classes", "net.width"):
            rows = data.isel(point=np.flatnonzero(data["axis"].values == axis))
            points = [
                (float(row), _estimate(rows["margin"].isel(point=i), generator)) for i, row in enumerate(rows["value"].values)
            ]
            at, worst = max(points, key=lambda pair: abs(pair[1].value - law))
            checks.append(within(f"smooth: {axis}, worst at {at:g}", law, worst, SMOOTH))
        return self._verdict(data, checks, _curves(data, generator))


def _grid(values: tuple[float, ...], scale: Scale) -> list[float]:
    """`POINTS` of the values, ends included, as even as can be."""
    count = min(POINTS[scale], len(values))
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, count)]


def _points(scale: Scale) -> list[tuple[str, float]]:
    """(series, value): a series is an axis around the preset, or with "@rho=1" at its end the same at rho = 1."""
    if scale is Scale.SMOKE:
        series = {axis: axis for axis in AXES if axis not in LINEAR[1:]}
    else:
        series = {axis: axis for axis in AXES} | {axis + AT_ONE: axis for axis in LINEAR}
    return [(name, value) for name, axis in series.items() for value in _grid(AXES[axis], scale)]


def _sharpness(axis: str, values: Any) -> Any:
    return -values if axis == "net.init" else values


def _point(lab: Lab, series: str, value: float, scale: Scale) -> xr.Dataset:
    axis = series.removesuffix(AT_ONE)
    base = lab.settings if series == axis else lab.settings.replace(**{"net.rho": 1.0})
    settings = varied(base, axis, value)
    columns: dict[str, list[Any]] = {"margin": [], "in_context": [], "outcome": []}
    for root in lab.roots:
        networks = lab.members(lab.bench(root, settings), NETWORKS[scale])
        columns["margin"].append(margin(networks.views.probes))
        columns["in_context"].append(in_context_accuracy(networks.views.single, networks.views.labels))
        columns["outcome"].append(networks.trained.outcome.numpy())
    data = xr.Dataset({name: (("root", "seed"), np.stack(rows)) for name, rows in columns.items()})
    return data.assign(axis=series, value=float(value)).assign_coords(root=list(lab.roots))


def varied(settings: Settings, axis: str, value: float) -> Settings:
    """The settings with one of them changed, and the dimensions that must follow it."""
    changes: dict[str, Any] = {axis: int(value) if axis in ("net.q", "data.classes", "net.width") else value}
    data = settings.data
    classes = int(value) if axis == "data.classes" else data.classes
    rate = value if axis == "data.distractors" else data.distractors
    fitting = preset(data.views, classes).data
    if axis == "data.classes":
        changes |= {
            "data.dim": max(fitting.dim, data.dim),
            "data.examples": round(data.examples * classes / data.classes),
        }
    expected = round(rate / classes * (classes - 1) * data.views)
    changes["data.patches"] = max(data.patches, data.patches_per_feature * (data.views + expected))
    return settings.replace(**changes)


def _estimate(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    values = values.transpose("root", "seed")
    return bootstrap(values.values, generator, np.broadcast_to(values["root"].values[:, None], values.shape))


def _curves(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {}
    for axis in dict.fromkeys(data["axis"].values.tolist()):
        rows = data.isel(point=np.flatnonzero(data["axis"].values == axis))
        points = [_estimate(rows["margin"].isel(point=i), generator) for i in range(rows.sizes["point"])]
        curves |= {
            f"{axis}": rows["value"].values.tolist(),
            f"{axis}_estimate": [point.value for point in points],
            f"{axis}_low": [point.low for point in points],
            f"{axis}_high": [point.high for point in points],
        }
    return curves
