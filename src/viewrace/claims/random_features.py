"""Claim: where features do not learn, an ensemble gains and cannot be distilled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from viewrace.auditing.pilot import fly, right_of
from viewrace.claims.base import Claim, Scale
from viewrace.claims.gains import DIGITS, ENDS, by_root, columns, digits_of, ends, ensemble_gain, pooled
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.data.images import ImageSet
from viewrace.nets.module import Factory, draw
from viewrace.nets.perceptron import Perceptron
from viewrace.nets.tangent import Linearised, kernel_ridge, tangent_kernel
from viewrace.streams import Stream, numpy_generator, torch_generator
from viewrace.train.members import MemberConfig, train_members

__all__ = ["FIXED", "NETWORK", "WIDER", "RandomFeatures"]

EXAMPLES = {Scale.SMOKE: 300, Scale.QUICK: 1000, Scale.FULL: 1000}
MEMBERS = {Scale.SMOKE: 4, Scale.QUICK: 16, Scale.FULL: 32}
STUDENTS = {Scale.SMOKE: 2, Scale.QUICK: 12, Scale.FULL: 32}
EPOCHS = {Scale.SMOKE: 20, Scale.QUICK: 40, Scale.FULL: 40}
WIDTH = 16
RIDGE = 0.03
"""At which single machines were most often right on root seed 0, of 1e-4 to 1: a poor ridge would let a student gain by any
smoothing of its targets."""
HALF = 0.5
GRID = tuple((temperature, alpha) for temperature in (1.0, 4.0) for alpha in (1.0, 0.5))
MACHINE_GRID = ((1.0, 1.0), (1.0, 0.5))
CONFIG = MemberConfig(batch=100, rate=0.1, nesterov=False, weight_decay=0.0, warmup=0.0, engine="batched")
NETWORK = "network"
FIXED = ("linearised", "random features", "tangent kernel")
WIDER = {64: "random features, 64 units", 256: "random features, 256 units"}
KINDS = (NETWORK, *FIXED, *WIDER.values())
Said = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Soft:
    """A teacher's logits of the training examples (example, class), and what weight and temperature they have."""

    logits: Tensor
    temperature: float
    alpha: float


Fit = Callable[[int, int, Soft | None], Said]
"""Models `start` to `start + count`, taught or not: their logits of the training and of the test examples."""


class RandomFeatures(Claim):
    id = "random-features"
    title = "Fixed features gain and do not distil"
    statement = (
        "Linearised networks, random features and tangent kernels gain from an ensemble, and a student of their own kind "
        "cannot be taught that gain by soft labels."
    )
    source = "Allen-Zhu & Li, ICLR 2023, sections 1 and 5 (figure 1), there on CIFAR with NTKs of wide ResNets"
    protocol = (
        "scikit-learn's digits, 1,000 drawn under the root seed to train on, the other 797 to test on. One architecture, "
        f"a perceptron with {WIDTH} hidden ReLU units, from the same inits: trained as it is; linearised at its init; with "
        f"its hidden layer frozen; and ridge regression (ridge {RIDGE:g} of the mean diagonal, the best for one machine on "
        "root seed 0) with its empirical tangent kernel. Members differ in their seed. Students are of the same kind, "
        "from fresh inits, taught by the members' averaged logits at temperatures 1 and 4, alpha 1 and 0.5 (kernels: "
        "regressed on the teacher's outputs, alpha 1 and 0.5); the best cell is chosen on one half of the test examples "
        "and judged on the other. Supported where each of the three kinds gains with its interval above 0 and its "
        f"student's share of the gain is surely below {HALF}. Measured beside: the trained network, and 64 and 256 random "
        "features. Members 4, 16, 32; students in each cell 2, 12, 32; at smoke 300 examples and 20 epochs."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return 20.0 * roots * len(KINDS)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        def measure(kind: str, root: int) -> xr.Dataset:
            pair = digits_of(root, EXAMPLES[scale])
            return _measured(_fit_of(kind, pair, root, scale), kind, pair, root, scale)

        return by_root(lab, "kind", KINDS, 20.0, measure).assign_coords(end=list(ENDS))

    def judge(self, data: xr.Dataset) -> Verdict:
        examples = int(data.attrs["test_examples"])
        found = {
            name: {kind: pooled(data[name].sel(kind=kind), examples, examples / DIGITS) for kind in KINDS}
            for name in ("gain", "share", "self_share")
        }
        checks: list[Check] = []
        for kind in FIXED:
            checks.append(at_least(f"{kind}: ensemble minus single, accuracy", 0.0, found["gain"][kind], clear_of=0.0))
        for kind in FIXED:
            checks.append(at_most(f"{kind}: share of the gain that the student keeps", HALF, found["share"][kind]))
        curves: dict[str, list[float]] = {}
        for name, estimates in found.items():
            curves |= columns(name, list(estimates.values()))
        for level in ("single", "ensemble", "student", "train_accuracy"):
            curves[level] = [float(data[level].sel(kind=kind).mean()) for kind in KINDS]
        measures = {f"{kind}: {name}": found[name][kind] for name in found for kind in KINDS}
        return self._verdict(data, checks, curves, measures)


def _fit_of(kind: str, pair: tuple[ImageSet, ImageSet], root: int, scale: Scale) -> Fit:
    inputs, classes = prod(pair[0].shape), len(pair[0].classes)
    width = next((units for units, name in WIDER.items() if name == kind), WIDTH)

    def plain() -> Perceptron:
        return Perceptron(inputs, width, classes, frozen=kind.startswith("random features"))

    if kind == "tangent kernel":
        return _Machines(plain, pair, root)
    config = CONFIG.replace(epochs=EPOCHS[scale])
    return _modules((lambda: Linearised(plain())) if kind == "linearised" else plain, pair, config, root)


def _modules(factory: Factory, pair: tuple[ImageSet, ImageSet], config: MemberConfig, root: int) -> Fit:
    def fit(count: int, start: int, soft: Soft | None) -> Said:
        taught: dict[str, Any] = {}
        if soft is not None:
            taught = {"teacher": soft.logits.float(), "temperature": soft.temperature, "alpha": soft.alpha}
        trained = train_members(factory, pair[0], config, count, root, start=start, **taught)
        return trained.logits(pair[0].images).double(), trained.logits(pair[1].images).double()

    return fit


class _Machines:
    """Ridge regression on labels, or on a teacher's outputs, with the tangent kernel of one network a member.

    Labels are 1 for the class and 0 for others, less their mean. Regression on a teacher's outputs is distillation in the limit
    of a high temperature (Hinton, Vinyals & Dean 2015, section 2.1), so the temperature says nothing here.
    """

    def __init__(self, factory: Factory, pair: tuple[ImageSet, ImageSet], root: int):
        train, test = pair
        deviation, mean = torch.std_mean(train.images, correction=0)
        self.factory, self.root = factory, root
        self.seen, self.fresh = ((part.images - mean) / deviation for part in (train, test))
        hard = torch.nn.functional.one_hot(train.labels, len(train.classes)).double()
        self.hard = hard - 1 / len(train.classes)
        self.kernels: dict[int, Said] = {}

    def __call__(self, count: int, start: int, soft: Soft | None) -> Said:
        targets = self.hard if soft is None else soft.alpha * soft.logits + (1 - soft.alpha) * self.hard
        said = []
        for index in range(start, start + count):
            own, across = self._kernels(index)
            coefficients = kernel_ridge(own, targets, RIDGE)
            said.append((own @ coefficients, across @ coefficients))
        return torch.stack([on for on, _ in said]), torch.stack([on for _, on in said])

    def _kernels(self, index: int) -> Said:
        """Among the training examples, and of the test examples with them."""
        if index not in self.kernels:
            net = draw(self.factory, [torch_generator(self.root, Stream.INIT, index)])[0]
            own, across = tangent_kernel(net, self.seen), tangent_kernel(net, self.fresh, self.seen)
            self.kernels[index] = own.double(), across.double()
        return self.kernels[index]


def _measured(fit: Fit, kind: str, pair: tuple[ImageSet, ImageSet], root: int, scale: Scale) -> xr.Dataset:
    members, students, labels = MEMBERS[scale], STUDENTS[scale], pair[1].labels
    generator = numpy_generator(root, Stream.BOOTSTRAP)
    said = fit(members, 0, None)

    def pupils(teacher: Tensor, temperature: float, alpha: float) -> Tensor:
        return fit(students, members, Soft(teacher, temperature, alpha))[1]

    pilot = fly(pupils, said, labels, "logits", generator, MACHINE_GRID if kind == "tangent kernel" else GRID)
    columns: dict[str, Any] = {
        "gain": ("end", ends(ensemble_gain(said[1], labels, generator))),
        "share": ("end", ends(pilot.share)),
        "self_share": ("end", ends(pilot.self_share)),
        "single": float(right_of(said[1], labels).mean()),
        "ensemble": float(right_of(said[1].mean(dim=0), labels).mean()),
        "student": max(cell.accuracy for cell in pilot.cells),
        "train_accuracy": float(right_of(said[0], pair[0].labels).mean()),
        "temperature": pilot.temperature,
        "alpha": pilot.alpha,
    }
    return xr.Dataset(columns, attrs={"test_examples": len(labels)})
