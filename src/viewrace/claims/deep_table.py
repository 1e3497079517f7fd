"""The paper's table on real images, in five columns: one network, trained jointly, ensemble, distilled, self-distilled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from viewrace.claims.base import Claim, Scale
from viewrace.claims.deep_data import CIFAR, COMPOSITE, DIGITS, EPOCHS, MU, SETS, left_out
from viewrace.claims.deep_networks import COST, EXPERIMENTS, MEMBERS, STUDENTS, TEMPERATURE, Experiment
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap, percentiles

__all__ = [
    "COLUMNS",
    "DeepClaim",
    "columns_of",
    "difference",
    "line",
    "over_experiments",
    "sets_at_hand",
    "share_kept",
    "teachers_of",
    "without",
]

COLUMNS = ("single", "joint", "ensemble", "distilled", "self_distilled")
RESAMPLES = 2000


class DeepClaim(Claim):
    """What the claims on the table share: one training, for whichever of them comes first, and the columns as measures."""

    setup: ClassVar[str] = (
        f"Its own images, whatever the settings: digits ({DIGITS[Scale.QUICK]} to train on), CIFAR-10 where it is at hand "
        f"(images.cifar10; {CIFAR[Scale.QUICK][0]} at half their height and width, at full all of it) and composite images "
        f"(three digits of a class as channels, {MU:g} of the {COMPOSITE[Scale.QUICK]} training images single-view, tested on "
        "single-view ones). A conv net of two layers with batch norm, SGD at 0.1 with a cosine, for "
        f"{', '.join(str(EPOCHS[name][Scale.QUICK]) for name in SETS)} epochs, by when it has nearly all training images right. "
        "Trained jointly: the average's cross-entropy, the rate so much higher that a member moves as far as alone. Students: "
        f"fresh inits, soft labels alone at temperature {TEMPERATURE:g}, as many epochs. {EXPERIMENTS[Scale.QUICK]} experiments "
        "on each set and root seed, with images, inits and orders of their own. Networks in an ensemble 2, 4, 10; students of "
        "each kind 2, 3, 5."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * EXPERIMENTS[scale] * sum(COST.values()) * (2 * MEMBERS[scale] + 2 * STUDENTS[scale])

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        sets, reason = sets_at_hand(lab.settings, SETS)
        parts = [_one_set(lab, name, scale) for name in sets]
        return xr.concat(parts, dim="set").assign_coords(set=sets).assign_attrs(left_out=reason)

    def _with_columns(self, data: xr.Dataset, checks: list[Check], generator: np.random.Generator) -> Verdict:
        return without(self._verdict(data, checks, *_spread(data, generator)), data)


def sets_at_hand(settings: Settings, sets: Iterable[str]) -> tuple[list[str], str]:
    """Those of `sets` that can be read, and why one is left out (empty: none is)."""
    reason = left_out(settings)
    return [name for name in sets if reason is None or name != "cifar10"], reason or ""


def without(verdict: Verdict, data: xr.Dataset) -> Verdict:
    """The verdict with a flag for the set that was left out."""
    reason = data.attrs["left_out"]
    return replace(verdict, flags=(*verdict.flags, reason)) if reason else verdict


def _one_set(lab: Lab, name: str, scale: Scale) -> xr.Dataset:
    dims = {"single": ("network",), "distilled": ("student",), "self_distilled": ("student",), "outcome": ("any",)}

    def one(root: int, number: int) -> xr.Dataset:
        found = Experiment(lab, name, scale, root, number).scores()
        return xr.Dataset({key: (dims.get(key, ()), values) for key, values in found.items()})

    return over_experiments(lab, EXPERIMENTS[scale], one)


def over_experiments(lab: Lab, count: int, one: Callable[[int, int], xr.Dataset]) -> xr.Dataset:
    """(root, experiment, ..): what `one(root, number)` gives for each of `count` experiments a root seed."""
    rows = [xr.concat([one(root, number) for number in range(count)], dim="experiment") for root in lab.roots]
    return xr.concat(rows, dim="root").assign_coords(root=list(lab.roots))


def line(name: str, points: Iterable[Estimate]) -> dict[str, list[float]]:
    """Curves of a verdict from estimates."""
    held = list(points)
    ends = {"estimate": "value", "low": "low", "high": "high"}
    return {f"{name}_{column}": [getattr(point, end) for point in held] for column, end in ends.items()}


def columns_of(data: xr.Dataset, name: str) -> dict[str, NDArray[np.float64]]:
    """(experiment,) accuracy of each column on one set, the mean over its networks, over all roots."""
    return {column: _each(data[column].sel(set=name)) for column in COLUMNS}


def _each(values: xr.DataArray) -> NDArray[np.float64]:
    own = [dim for dim in values.dims if dim not in ("root", "experiment")]
    return np.asarray(values.mean(own).transpose("root", "experiment").values.ravel())


def teachers_of(data: xr.Dataset, name: str) -> NDArray[np.float64]:
    """(experiment,) mean accuracy of those members that taught one student each."""
    own = data["single"].sel(set=name).isel(network=slice(0, data.sizes["student"]))
    return _each(own)


def difference(first: NDArray[np.float64], second: NDArray[np.float64], generator: np.random.Generator) -> Estimate:
    """Mean difference, paired by experiment."""
    return bootstrap(first - second, generator, unit="experiments")


def share_kept(columns: Mapping[str, NDArray[np.float64]], generator: np.random.Generator) -> Estimate:
    """(distilled - single) / (ensemble - single), of the means over experiments; not a number where there is no gain."""
    gain, kept = (columns[name] - columns["single"] for name in ("ensemble", "distilled"))
    picks = generator.integers(len(gain), size=(RESAMPLES, len(gain)))
    below = gain[picks].mean(axis=1)
    if gain.mean() <= 0 or (below <= 0).any():
        return Estimate(np.nan, np.nan, np.nan, len(gain), "no gain to keep in some resamples")
    return percentiles(kept.mean() / gain.mean(), kept[picks].mean(axis=1) / below, len(gain), unit="experiments")


def _spread(data: xr.Dataset, generator: np.random.Generator) -> tuple[dict[str, list[float]], dict[str, Estimate]]:
    """Curves (a list over columns for each set) and measures of the table: each column's mean and interval."""
    curves: dict[str, list[float]] = {}
    measures: dict[str, Estimate] = {}
    for name in data["set"].values.tolist():
        points = {column: bootstrap(each, generator, unit="experiments") for column, each in columns_of(data, name).items()}
        measures |= {f"{name}: {column.replace('_', '-')}": point for column, point in points.items()}
        curves |= line(name, points.values())
    return curves, measures
