"""The audit, put to cases whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from viewrace.auditing import Audit, audit, audit_logits
from viewrace.claims.audit_worlds import WORLDS, World
from viewrace.claims.base import Claim, Scale
from viewrace.claims.gains import by_root
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least
from viewrace.config import Settings
from viewrace.measure import Estimate
from viewrace.train.members import train_members

__all__ = ["CASES", "AuditCases"]

MEMBERS = {Scale.SMOKE: 4, Scale.QUICK: 8, Scale.FULL: 12}
STUDENTS = {Scale.SMOKE: 1, Scale.QUICK: 3, Scale.FULL: 5}
EPOCHS = {Scale.SMOKE: 0.1, Scale.QUICK: 1.0, Scale.FULL: 1.0}
COPIES = 8
ENDLESS = 1e5
SURE = 0.5
QUESTIONS = ("helps", "why", "distils")
NONE, OPEN = "not asked", "any"
CASES: dict[str, tuple[str, str, str]] = {
    "multi-view": ("yes", "views", "yes"),
    "gaussian": ("no", OPEN, OPEN),
    "copies": ("no", "none", OPEN),
    "label noise": ("yes", "variance", "yes"),
    "random features": ("yes", OPEN, "no"),
}
"""The known answers to the three questions; `any` where none is known, or where one follows from another: without a gain the
third is not asked."""


class AuditCases(Claim):
    id = "audit-cases"
    title = "The audit, where the answer is known"
    statement = (
        "The audit tells five cases apart: multi-view data (an ensemble helps, by views, and distils), Gaussian data and copies "
        "of one network (it does not help), label noise (by variance, and distils), random features (helps, does not distil)."
    )
    source = "Allen-Zhu & Li, ICLR 2023, sections 1 and 2 (what ensembles of random features and on Gaussian data do)"
    protocol = (
        "Each case is a model with data, as a user would bring them; how it is trained was chosen on root seed 0 (the "
        "Gaussian case: on 0 to 3). Multi-view: "
        "the preset (M = 3, K = 4, 300 examples) and a patch network with q = 4, half of the test examples single-view. "
        "Gaussian: labels from a random network. Copies: one network, eight times. Label noise: one Gaussian cluster a class, a "
        "fifth of the training labels drawn anew. Random features: a frozen random layer of 50 units. Supported where every "
        "answer is right and the exact (Clopper-Pearson) interval of the share of right answers, over roots and cases, is above "
        f"{SURE}; refuted where any answer is wrong, and `unclear` is wrong. Members 4, 8, 12; students in each cell 1, 3, 5; at "
        "smoke a tenth of the epochs, which tests that it runs and judges nothing."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return 40.0 * roots * len(CASES)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        data = by_root(lab, "case", list(CASES), 40.0, lambda case, root: _row(_audited(case, root, scale)))
        return data.assign(known=(("case", "question"), np.array(list(CASES.values()), dtype=object)))

    def judge(self, data: xr.Dataset) -> Verdict:
        right = {question: _right(data, index) for index, question in enumerate(QUESTIONS)}
        every = np.concatenate(list(right.values()))
        checks: list[Check] = [at_least("all answers right", 1.0, _share(every), clear_of=SURE)]
        checks += [at_least(f"right: {question}", 1.0, _share(held), clear_of=SURE) for question, held in right.items()]
        return self._verdict(data, checks)


def _audited(case: str, root: int, scale: Scale) -> Audit:
    world = WORLDS["label noise" if case == "copies" else case](root)
    config = world.config.replace(epochs=max(2, round(EPOCHS[scale] * world.config.epochs)))
    if case == "copies":
        return _copies(world, root, config.epochs)
    members, students = MEMBERS[scale], STUDENTS[scale]
    return audit(
        world.factory, world.train, world.test, members=members, students=students, budget=ENDLESS, config=config, seed=root
    )


def _copies(world: World, root: int, epochs: int) -> Audit:
    one = train_members(world.factory, world.train, world.config.replace(epochs=epochs), 1, root)
    return audit_logits(one.logits(world.test.images).expand(COPIES, -1, -1), world.test.labels, seed=root)


def _row(found: Audit) -> xr.Dataset:
    """What the audit said of one case, and the numbers behind it."""
    answers = (found.answers.helps, found.answers.why, found.answers.distils or NONE)
    nothing = Estimate(np.nan, np.nan, np.nan, 0, "")
    numbers = {
        "gain": found.gain.gains["accuracy"],
        "split": found.diversity.line("split in two groups").excess or nothing,
        "share": nothing if found.pilot is None else found.pilot.share,
    }
    columns: dict[str, Any] = {"answer": ("question", np.array(answers, dtype=object))}
    for name, value in numbers.items():
        columns[name] = ("end", [value.value, value.low, value.high])
    return xr.Dataset(columns, coords={"question": list(QUESTIONS), "end": ["value", "low", "high"]})


def _right(data: xr.Dataset, question: int) -> np.ndarray:
    """Over roots and the cases where the answer is known: whether the audit's is that."""
    found = []
    for case, known in CASES.items():
        truth = known[question]
        if truth != OPEN:
            found.append(data["answer"].sel(case=case).isel(question=question).values == truth)
    return np.concatenate(found)


def _share(right: np.ndarray) -> Estimate:
    """The share of right answers with its exact interval."""
    interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="exact")
    return Estimate(float(right.mean()), float(interval.low), float(interval.high), len(right), "exact, over roots and cases")
