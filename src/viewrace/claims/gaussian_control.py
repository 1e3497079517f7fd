"""Claim: on Gaussian data with a random teacher's labels, an ensemble brings nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from viewrace.auditing.pilot import right_of
from viewrace.claims.audit_worlds import PLAIN, World, multi_view, world_of
from viewrace.claims.base import Claim, Scale
from viewrace.claims.gains import ENDS, columns, ends, ensemble_gain, gain_by_size, pooled
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.data.gaussian import Gaussian, GaussianConfig
from viewrace.measure import Estimate, disagreement
from viewrace.nets.perceptron import Perceptron
from viewrace.streams import Stream, numpy_generator
from viewrace.train.members import MemberConfig, train_members

__all__ = ["BOUND", "HALVES", "SOURCES", "GaussianControl"]

SOURCES = {"Gaussian": GaussianConfig(), "mixture": GaussianConfig(clusters=8)}
SIZES = {Scale.SMOKE: (500, 2000), Scale.QUICK: (500, 2000, 8000), Scale.FULL: (500, 2000, 8000, 32000)}
MEMBERS = {Scale.SMOKE: 4, Scale.QUICK: 10, Scale.FULL: 10}
STEPS = {Scale.SMOKE: 300, Scale.QUICK: 2000, Scale.FULL: 8000}
EPOCHS = {Scale.SMOKE: 20, Scale.QUICK: 200, Scale.FULL: 200}
TEST = 10_000
BATCH, WIDTH = 100, 64
BOUND = 0.01
"""A point of accuracy, the least that the audit calls a help."""
GAIN = 0.02
HALVES = ("all views", "one view")


class GaussianControl(Claim):
    id = "gaussian-control"
    title = "Gaussian data: nothing for an ensemble to gain"
    statement = (
        "On Gaussian data labelled by a random network, an ensemble of networks brings less than a point of accuracy, "
        "with 500 examples as with 8,000; on multi-view data, where single networks are right as often, it brings two or "
        "more."
    )
    source = "Allen-Zhu & Li, ICLR 2023, section 1 (Gaussian-like inputs, also mixtures; labels from a random target network)"
    protocol = (
        "Inputs of 10 dimensions from one Gaussian, or from 8 of deviation 1 with centres at distance 2; the largest "
        "logit of a random network (10 ReLU units, 4 classes) is the label, without noise. Members: perceptrons of 64 "
        "units that differ in their seed, SGD with momentum and a cosine schedule, the same number of steps at each "
        f"number of examples; {TEST:,} test examples. Supported where at every number of examples (500, 2,000, 8,000; full "
        f"also 32,000) the whole interval of the gain of an ensemble of 10 is at most {BOUND}: an equivalence, not the "
        "absence of a significant gain. The control: patch networks (q = 4) on the multi-view preset (M = 3, K = 4), full "
        "and single-view test examples mixed so that single networks are right as often as on one Gaussian at the quick "
        f"scale's largest number of examples; supported where the ensemble gains at least {GAIN} and its interval is above "
        f"{BOUND}. Members 4, 10, 10; steps 300, 2,000, 8,000."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return 20.0 * roots * (len(SOURCES) * len(SIZES[scale]) + 1)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = []
        for root in lab.roots:
            rows = []
            for config in SOURCES.values():
                points = []
                for size in SIZES[scale]:
                    points.append(_measured(_world(config, root, size, scale), root, scale))
                    lab.progress(20.0)
                rows.append(xr.concat(points, dim="examples").assign_coords(examples=list(SIZES[scale])))
            found = xr.concat(rows, dim="source").assign_coords(source=list(SOURCES))
            parts.append(xr.merge([found, _control(root, scale)]))
            lab.progress(20.0)
        data = xr.concat(parts, dim="root").assign_coords(root=list(lab.roots), end=list(ENDS), half=list(HALVES))
        return data.assign_attrs(test_examples=TEST)

    def judge(self, data: xr.Dataset) -> Verdict:
        checks: list[Check] = []
        curves: dict[str, list[float]] = {"examples": data["examples"].values.tolist()}
        for source in SOURCES:
            points = []
            for size in curves["examples"]:
                point = pooled(data["gain"].sel(source=source, examples=size), TEST)
                checks.append(at_most(f"{source}, {int(size):,} examples: ensemble minus single", BOUND, point))
                points.append(point)
            curves |= columns(source, points)
            error = 1 - data["single"].sel(source=source).mean("root").values
            curves[f"{source}_error"] = error.tolist()
            curves[f"{source}_share_of_error"] = (np.array([point.value for point in points]) / error).tolist()
        largest = min(curves["examples"][-1], SIZES[Scale.QUICK][-1])
        level = data["single"].sel(source="Gaussian", examples=largest)
        control, mix = control_at(data, level)
        checks.append(at_least("multi-view data, single networks right as often", GAIN, control, clear_of=BOUND))
        curves["control"] = [float(level.mean()), control.value, control.low, control.high, mix]
        return self._verdict(data, checks, curves)


def _world(config: GaussianConfig, root: int, size: int, scale: Scale) -> World:
    data = Gaussian(config, root)
    (seen, labels), (fresh, answers) = data.train(size), data.test(TEST)
    training = MemberConfig(epochs=max(1, STEPS[scale] * BATCH // size), batch=BATCH, rate=0.1, **PLAIN)
    sets = (seen[:, None], labels), (fresh[:, None], answers)
    return world_of(lambda: Perceptron(config.dim, WIDTH, config.classes), *sets, config.classes, training)


def _measured(world: World, root: int, scale: Scale) -> xr.Dataset:
    """Gain of the ensemble, and by number of members; whether members fit their data and differ."""
    members = train_members(world.factory, world.train, world.config, MEMBERS[scale], root)
    said, labels, generator = (
        members.logits(world.test.images).double(),
        world.test.labels,
        numpy_generator(root, Stream.BOOTSTRAP),
    )
    sizes = list(range(1, MEMBERS[scale] + 1))
    found: dict[str, Any] = {
        "gain": ("end", ends(ensemble_gain(said, labels, generator))),
        "gain_by_size": ("members", gain_by_size(said, labels, sizes, generator)),
        "single": float(right_of(said, labels).mean()),
        "disagreement": float(disagreement(said).mean()),
        "train_accuracy": float(members.accuracy(world.train).mean()),
    }
    return xr.Dataset(found, coords={"members": sizes})


def _control(root: int, scale: Scale) -> xr.Dataset:
    """The same on multi-view data, for test examples that show all views and for those that show one."""
    world = multi_view(root)
    config = world.config.replace(epochs=EPOCHS[scale])
    said = train_members(world.factory, world.train, config, MEMBERS[scale], root).logits(world.test.images).double()
    generator, half = numpy_generator(root, Stream.BOOTSTRAP, 1), len(world.test) // 2
    gains, single = [], []
    for rows in (slice(0, half), slice(half, None)):
        labels = world.test.labels[rows]
        gains.append(ends(ensemble_gain(said[:, rows], labels, generator)))
        single.append(float(right_of(said[:, rows], labels).mean()))
    found: dict[str, Any] = {
        "control_gain": (("half", "end"), gains),
        "control_single": ("half", single),
        "control_examples": half,
    }
    return xr.Dataset(found)


def control_at(data: xr.Dataset, level: xr.DataArray) -> tuple[Estimate, float]:
    """Gain on multi-view data whose share of single-view examples makes single networks right at `level` (root,); the share, mean
    over root seeds. The half-widths of the two parts add up, since the same members are in both."""
    whole, part = (data["control_single"].sel(half=half) for half in HALVES)
    share = ((whole - level) / (whole - part)).clip(0, 1)
    weights = xr.concat([1 - share, share], dim="half").assign_coords(half=list(HALVES))
    mixed = (data["control_gain"] * weights).sum("half")
    return pooled(mixed, int(data["control_examples"].values.flat[0])), float(share.mean())
