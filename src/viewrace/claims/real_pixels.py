"""The same laws on real pixels: digits as patches, with the race and without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from viewrace.claims.base import Claim, Scale
from viewrace.claims.ensemble import ensembles
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap, bootstrap_difference, dominance, in_context_accuracy, margin
from viewrace.presets import DIGITS_RELU, preset
from viewrace.train import SoftLoss, averaged

__all__ = ["RealPixels"]

MEMBERS = 10
REPEATS = {Scale.SMOKE: 1, Scale.QUICK: 1, Scale.FULL: 3}
STUDENTS = {Scale.SMOKE: 2, Scale.QUICK: 3, Scale.FULL: 10}
SIZES = (1, 2, 3, 5, 10)
GAIN = 0.05
MOST = 0.5
NOTHING = 0.02
ACTIVATIONS = ("power", "relu")


class RealPixels(Claim):
    id = "real-pixels"
    title = "The race on real pixels"
    statement = (
        "With digits as patches and q = 4, single networks miss views, their ensemble regains them and a student keeps most "
        "of it; with plain ReLU all views are learned and the ensemble brings nothing."
    )
    source = "Allen-Zhu & Li, ICLR 2023, section 1 (the reading); data as in the project's docs/science.md"
    protocol = (
        "Each patch is an 8x8 digit of scikit-learn's set; view m of a class is its digits under view m's own permutation of "
        "the pixels; test examples use digits outside the training pool. Ten networks per ensemble, q = 4 and plain ReLU on "
        "the same data. Judged by accuracy on fresh single-view examples: the ensemble of ten gains at least "
        f"{GAIN} over its members, the student keeps at least {MOST} of that gain, and the ReLU ensemble gains at most "
        f"{NOTHING}. Ensembles per root seed: 1, 1, 3; students 2, 3, 10."
    )
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * (MEMBERS * REPEATS[scale] * 3.0 + STUDENTS[scale] * 9.0)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        base = self.settings(lab.settings)
        parts = []
        for root in lab.roots:
            both = [_one(lab, lab.bench(root, base), scale), _one(lab, lab.bench(root, _relu(base)), scale)]
            parts.append(xr.concat(both, dim="activation").assign_coords(activation=list(ACTIVATIONS)))
        return xr.concat(parts, dim="root").assign_coords(root=list(lab.roots))

    @staticmethod
    def settings(asked: Settings) -> Settings:
        """The digits preset; settings that already ask for digits are taken as they are."""
        return asked if asked.data.source == "digits" else preset(source="digits")

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        power, relu = (data.sel(activation=name) for name in ACTIVATIONS)
        kept = _kept(power, generator)
        checks: list[Check] = [
            at_least("q = 4: ensemble of 10 minus single, single-view accuracy", GAIN, _gain(power, generator)),
            at_least("q = 4: share of the gain that the student keeps", MOST, kept),
            at_most("plain ReLU: ensemble of 10 minus single", NOTHING, _gain(relu, generator)),
        ]
        curves: dict[str, list[float]] = {"members": list(map(float, SIZES))}
        for name, part in zip(ACTIVATIONS, (power, relu), strict=True):
            for size in SIZES:
                point = bootstrap(_there(part["in_context"].sel(members=size)), generator, unit="ensembles")
                for column in ("estimate", "low", "high"):
                    value = point.value if column == "estimate" else getattr(point, column)
                    curves.setdefault(f"in_context_{name}_{column}", []).append(value)
            curves[f"student_{name}"] = [float(part["in_context_student"].mean())]
        return self._verdict(data, checks, curves)


def _relu(base: Settings) -> Settings:
    return base.replace(**DIGITS_RELU)


def _one(lab: Lab, bench: Bench, scale: Scale) -> xr.Dataset:
    networks = lab.members(bench, MEMBERS * REPEATS[scale])
    data = ensembles(networks, SIZES)
    logits = networks.trained.take(slice(0, MEMBERS)).logits(bench.examples.inputs)
    soft = averaged(logits, bench.settings.distill.average)
    student = _student(lab, bench, soft, STUDENTS[scale])
    columns: dict[str, Any] = {
        "margin_student": ("student", margin(student.views.probes)),
        "in_context_student": ("student", in_context_accuracy(student.views.single, student.views.labels)),
        "outcome_student": ("student", student.trained.outcome.numpy()),
        "dominance": ("seed", dominance(networks.views.probes)),
    }
    return data.assign(columns)


def _student(lab: Lab, bench: Bench, soft: Any, count: int) -> Networks:
    distill = bench.settings.distill
    loss = SoftLoss.from_config(distill, bench.examples.labels, soft)
    family = bench.family(distill.width, bench.settings.net.init if bench.settings.net.q == 1 else distill.init)
    return lab.train(
        bench,
        f"digit-student-{count}",
        family,
        bench.generators(Role.STUDENT, 0, count),
        loss,
        student=distill,
        cost=9.0,
    )


def _there(values: xr.DataArray) -> np.ndarray:
    flat = values.values.ravel()
    return np.asarray(flat[~np.isnan(flat)])


def _gain(part: xr.Dataset, generator: np.random.Generator) -> Estimate:
    large, one = (_there(part["in_context"].sel(members=size)) for size in (SIZES[-1], 1))
    if len(large) > 1:
        return bootstrap_difference(large, one, generator, unit="ensembles")
    single = bootstrap(one, generator)
    gain = float(large[0]) - single.value
    return Estimate(gain, float(large[0]) - single.high, float(large[0]) - single.low, 1, "bootstrap over networks")


def _kept(part: xr.Dataset, generator: np.random.Generator) -> Estimate:
    """(student - single) / (ensemble - single), the root's own means below; bootstrap over students."""
    single = part["in_context"].sel(members=1).mean("repeat")
    gain = part["in_context"].sel(members=SIZES[-1]).mean("repeat") - single
    share = ((part["in_context_student"] - single) / gain.where(gain > 0)).transpose("root", "student")
    return bootstrap(share.values, generator, np.broadcast_to(part["root"].values[:, None], share.shape), unit="students")
