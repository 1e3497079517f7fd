"""Claim 3: one student learns what the ensemble knows; and the three conditions under which it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.verdict import Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap, bootstrap_difference, in_context_accuracy, margin
from viewrace.train import SoftLoss, averaged

__all__ = ["Distillation"]

STUDENTS = {Scale.SMOKE: 3, Scale.QUICK: 6, Scale.FULL: 20}
VARIANTS = {Scale.SMOKE: 2, Scale.QUICK: 3, Scale.FULL: 10}
FACTORS = {
    Scale.SMOKE: (0.25, 4.0),
    Scale.QUICK: (0.25, 0.5, 2.0, 4.0),
    Scale.FULL: (0.125, 0.25, 0.5, 2.0, 4.0, 8.0),
}
NARROW = (1, 2, 3, 5)
KEPT = 0.95
LEAST_EFFECT = 0.10
NOTHING = 0.05
CONDITION = "condition"


class Distillation(Claim):
    id = "distillation"
    title = "A student learns what the ensemble knows"
    statement = "A student taught by an ensemble's soft labels covers what the ensemble covers: C(student) = C(teacher)."
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 3; soft labels of Hinton, Vinyals & Dean 2015"
    protocol = (
        "Teacher: the average logits of the preset's number of networks. Students have their own width and init; their "
        "baseline is the same network, from the same init, on hard labels. Supported where the student's coverage over its "
        f"teacher's is at least {KEPT} with its whole interval, by margin at 0.1 and by single-view accuracy, and its gain "
        f"over the baseline is at least {LEAST_EFFECT}. Conditions, each a check of its own: a teacher that knows one view "
        f"(a single network) gives no more than {NOTHING} over the baseline; a student of one neuron per class falls short "
        f"of {KEPT} of its teacher; the preset's temperature is at least {LEAST_EFFECT} above the lowest tried. Students per "
        "root seed: 3, 6, 20; per variant 2, 3, 10."
    )
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        variants = VARIANTS[scale] * (2.0 * len(FACTORS[scale]) + 0.5 * len(NARROW) + 2.0)
        return roots * (settings.distill.members + 3.0 * STUDENTS[scale] + variants)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [_one_root(lab, lab.bench(root), scale).expand_dims(root=[root]) for root in lab.roots]
        return xr.concat(parts, dim="root").assign_attrs(temperature=lab.settings.distill.temperature)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        checks = [at_least(f"student / teacher, {label}", KEPT, _ratio(data, name, generator), law=1.0) for name, label in _NAMES]
        gain = bootstrap_difference(data["margin_student"], data["margin_baseline"], generator, unit="students")
        checks.append(at_least("student minus hard-label student", LEAST_EFFECT, gain, clear_of=0.0))
        one_view = bootstrap_difference(data["margin_one_view"], data["margin_baseline"], generator, unit="students")
        checks.append(at_most("condition: teacher of one view, gain over hard labels", NOTHING, one_view))
        narrow = _over_teacher(data, data["margin_narrow"].sel(width=1), generator)
        checks.append(at_most("condition: one neuron per class, student / teacher", KEPT, narrow))
        checks.append(at_least("condition: preset's minus lowest temperature", LEAST_EFFECT, _span(data, generator), 0.0))
        return self._verdict(data, checks, _curves(data, generator))


_NAMES = (("margin", "coverage by margin 0.1"), ("in_context", "accuracy on single-view examples"))


def _one_root(lab: Lab, bench: Bench, scale: Scale) -> xr.Dataset:
    distill = bench.settings.distill
    teachers = lab.members(bench, distill.members)
    logits = teachers.trained.logits(bench.examples.inputs)
    soft = averaged(logits, distill.average)
    teacher = teachers.views.average()
    columns: dict[str, Any] = {
        "margin_teacher": margin(teacher.probes)[0],
        "in_context_teacher": in_context_accuracy(teacher.single, teacher.labels)[0],
    }
    groups = _students(lab, bench, _groups(distill.temperature, soft, logits[:1], scale))
    columns |= _column("student", groups["student"])
    columns |= _column("one_view", groups["one-view"])
    columns |= _column("baseline", _baseline(lab, bench, STUDENTS[scale]), "seed")
    columns |= _temperatures(distill.temperature, groups, scale)
    columns |= _widths(lab, bench, soft, scale)
    return xr.Dataset(columns)


@dataclass(frozen=True)
class _Group:
    """Students of one width: what their teacher says, (1, example, class), at which temperature, and how many."""

    soft: Tensor
    temperature: float
    count: int


def _groups(own: float, soft: Tensor, one_view: Tensor, scale: Scale) -> dict[str, _Group]:
    """All students of the preset's width by name: the claim's own, those of a teacher of one view, other temperatures."""
    count = VARIANTS[scale]
    groups = {"student": _Group(soft, own, STUDENTS[scale]), "one-view": _Group(one_view, own, count)}
    return groups | {f"tau-{factor:g}": _Group(soft, own * factor, count) for factor in FACTORS[scale]}


def _students(lab: Lab, bench: Bench, groups: dict[str, _Group], width: int | None = None) -> dict[str, Networks]:
    """The students of all groups, trained together; the first of every group are from the same inits."""
    distill, sizes = bench.settings.distill, [group.count for group in groups.values()]
    soft = torch.cat([group.soft.expand(group.count, -1, -1) for group in groups.values()])
    temperature = torch.cat([torch.full((group.count,), group.temperature) for group in groups.values()])
    loss = SoftLoss.from_config(distill, bench.examples.labels, soft, temperature)
    width = width or distill.width
    family = bench.family(width, distill.init)
    generators = [generator for size in sizes for generator in bench.generators(Role.STUDENT, 0, size)]
    label = f"students-{width}-{'-'.join(map(str, sizes))}-{distill.members}"
    everyone = lab.train(bench, label, family, generators, loss, student=distill, cost=3.0)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    return {name: everyone.take(slice(at, at + size)) for name, at, size in zip(groups, starts, sizes, strict=True)}


def _baseline(lab: Lab, bench: Bench, count: int) -> Networks:
    distill = bench.settings.distill
    family = bench.family(distill.width, distill.init)
    generators = bench.generators(Role.STUDENT, 0, count)
    return lab.train(bench, f"baseline-{count}", family, generators, bench.hard_loss(), cost=0.3)


def _column(name: str, networks: Networks, dim: str | None = None) -> dict[str, Any]:
    dim = dim or ("variant" if name == "one_view" else "seed")
    views = networks.views
    return {
        f"margin_{name}": (dim, margin(views.probes)),
        f"in_context_{name}": (dim, in_context_accuracy(views.single, views.labels)),
        f"outcome_{name}": (dim, networks.trained.outcome.numpy()),
    }


def _temperatures(own: float, groups: dict[str, Networks], scale: Scale) -> dict[str, Any]:
    """Students over temperature, the preset's own among them (its first students)."""
    found = {own: groups["student"]} | {own * factor: groups[f"tau-{factor:g}"] for factor in FACTORS[scale]}
    taus = sorted(found)
    return {"tau": ("tau", taus)} | _table("temperature", ("tau", "variant"), [found[tau] for tau in taus], VARIANTS[scale])


def _widths(lab: Lab, bench: Bench, soft: Tensor, scale: Scale) -> dict[str, Any]:
    group = {"narrow": _Group(soft, bench.settings.distill.temperature, VARIANTS[scale])}
    found = [_students(lab, bench, group, width)["narrow"] for width in NARROW]
    return {"width": ("width", list(NARROW))} | _table("narrow", ("width", "variant"), found, VARIANTS[scale])


def _table(name: str, dims: tuple[str, str], found: list[Networks], count: int) -> dict[str, Any]:
    views = [networks.views.take(slice(0, count)) for networks in found]
    outcome = torch.stack([networks.trained.outcome[:count] for networks in found])
    return {
        f"margin_{name}": (dims, np.stack([margin(view.probes) for view in views])),
        f"in_context_{name}": (dims, np.stack([in_context_accuracy(view.single, view.labels) for view in views])),
        f"outcome_{name}": (dims, outcome.numpy()),
    }


def _over_teacher(data: xr.Dataset, values: xr.DataArray, generator: np.random.Generator, name: str = "margin") -> Estimate:
    ratio = (values / data[f"{name}_teacher"]).transpose("root", ...)
    roots = np.broadcast_to(data["root"].values[:, None], ratio.shape)
    return bootstrap(ratio.values, generator, roots, unit="students")


def _ratio(data: xr.Dataset, name: str, generator: np.random.Generator) -> Estimate:
    return _over_teacher(data, data[f"{name}_student"], generator, name)


def _span(data: xr.Dataset, generator: np.random.Generator) -> Estimate:
    """Coverage at the preset's temperature minus that at the lowest; the preset's was chosen before, so nothing is picked."""
    table = data["margin_temperature"]
    own = table.sel(tau=data.attrs["temperature"])
    return bootstrap_difference(own, table.isel(tau=0), generator, unit="students")


def _curves(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    curves = {"tau": data["tau"].values.tolist(), "width": data["width"].values.tolist()}
    for name, dim in (("temperature", "tau"), ("narrow", "width")):
        for measure in ("margin", "in_context"):
            table = data[f"{measure}_{name}"]
            points = [bootstrap(table.sel({dim: at}).values, generator, unit="students") for at in data[dim].values]
            curves |= {
                f"{measure}_{name}_estimate": [point.value for point in points],
                f"{measure}_{name}_low": [point.low for point in points],
                f"{measure}_{name}_high": [point.high for point in points],
            }
    return curves
