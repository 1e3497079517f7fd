"""The audit of a model: train members and students in the time allowed, then measure, answer, advise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from viewrace.auditing.audit import RULES, Audit, Cost, judge
from viewrace.auditing.inputs import checked
from viewrace.auditing.plan import CELLS, FEW_EPOCHS, Plan, choose_plan, seconds_per_epoch
from viewrace.data.images import ImageSet, check_split, from_dataset
from viewrace.errors import ViewraceError
from viewrace.nets.module import Factory
from viewrace.train.members import MemberConfig, Members, train_members

__all__ = ["BUDGET", "Progress", "audit"]

Progress = Callable[[str, float], None]
BUDGET = 10.0


def audit(
    factory: Factory,
    train: ImageSet | Any,
    test: ImageSet | Any,
    *,
    members: int | Members | None = None,
    students: int | None = None,
    budget: float = BUDGET,
    config: MemberConfig | None = None,
    average: str = "logits",
    seed: int = 1,
    save: str | Path | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Find out whether an ensemble of a model helps, why, and whether one network of it can be taught the gain.

    factory: builds one network with fresh weights, without arguments. train, test: images, or data sets in the manner of
    torchvision and Hugging Face. members: how many to train, or trained ones, of which no more are trained. students: in
    each cell of the pilot, 0 for none. budget: minutes, for the training of all networks; it decides what is left at None.
    config: how they are trained; epochs that it does not name follow from the budget. average: `logits` or `probabilities`.
    save: a file for the members (safetensors). progress: told what is being done and how far it is. Raises ViewraceError with
    one line where something is unfit.
    """
    began = time.perf_counter()
    sets = [part if isinstance(part, ImageSet) else from_dataset(part) for part in (train, test)]
    _refuse(sets[0], sets[1], members, students, budget, average, seed)
    run = _Run(factory, sets[0], sets[1], config or MemberConfig(), seed, progress or (lambda what, fraction: None))
    fixed = config is not None and "epochs" in config.model_fields_set
    run.fit(members, students, 60 * budget, run.config.epochs if fixed else None)
    have, flags = run.members(members if isinstance(members, Members) else None)
    if save is not None:
        have.save(save)
    said, labels = checked(have.logits(sets[1].images).double(), sets[1].labels)
    pupils = (run.students, have.logits(sets[0].images).double()) if run.plan.students else None
    found = judge(said, labels, average, seed, pupils, run.plan.grid)
    run.progress("done", 1.0)
    cost = Cost(time.perf_counter() - began, run.spent / max(run.trained, 1), run.config.epochs, run.trained)
    return replace(found, cost=cost, flags=(*flags, *_short_of(run.plan, budget, students, fixed), *found.flags))


def _short_of(plan: Plan, budget: float, students: int | None, fixed: bool) -> list[str]:
    """What there was no time for. fixed: the epochs were asked for, as `students` were where they are not None."""
    said = []
    if not plan.students and students is None:
        said.append(f"the budget of {budget:g} min left no time for students")
    if plan.students and plan.cells < CELLS:
        said.append(f"the budget of {budget:g} min left no time for students at the highest temperature")
    if not fixed and plan.epochs < FEW_EPOCHS:
        said.append(f"{plan.epochs} epochs, as the budget allows: networks that are trained for longer may gain less")
    return said


class _Run:
    """Trains networks and keeps count of the time."""

    def __init__(self, factory: Factory, data: ImageSet, test: ImageSet, config: MemberConfig, seed: int, progress: Progress):
        self.factory, self.data, self.test = factory, data, test
        self.config, self.seed, self.progress = config, seed, progress
        self.spent, self.trained, self.cell = 0.0, 0, 0
        self.first = 0

    def fit(self, members: int | Members | None, students: int | None, budget: float, epochs: int | None) -> None:
        """Time a few steps and choose how many networks to train, and for how long."""
        self.progress("timing", 0.0)
        epoch = seconds_per_epoch(self.factory, self.data, self.config, self.seed)
        count = len(members) if isinstance(members, Members) else members
        self.plan: Plan = choose_plan(epoch, budget, count, epochs, students)
        self.config = self.config.replace(epochs=self.plan.epochs)

    def members(self, given: Members | None) -> tuple[Members, tuple[str, ...]]:
        """The members, less those that diverged; as given or trained."""
        have = given or self._train("members", self.plan.members, 0)
        self.first = have.start + len(have)
        lost = int(have.diverged.sum())
        if len(have) - lost < 2:
            raise ViewraceError(f"{lost} of {len(have)} members diverged, 2 or more must be left: lower the learning rate")
        return have.take(~have.diverged), (f"{lost} of {len(have)} members diverged and are left out",) if lost else ()

    def students(self, teacher: Tensor, temperature: float, alpha: float) -> Tensor:
        """Logits of the test images by students of fresh inits, the same in every cell."""
        self.cell += 1
        what = f"students {self.cell} of {self.plan.cells}"
        soft = {"teacher": teacher.float(), "temperature": temperature, "alpha": alpha}
        return self._train(what, self.plan.students, self.first, **soft).logits(self.test.images).double()

    def _train(self, what: str, count: int, start: int, **soft: Any) -> Members:
        began = time.perf_counter()
        trained = train_members(
            self.factory,
            self.data,
            self.config,
            count,
            self.seed,
            start=start,
            progress=lambda fraction: self.progress(what, (self.trained + fraction * count) / self.plan.networks),
            **soft,
        )
        self.spent, self.trained = self.spent + time.perf_counter() - began, self.trained + count
        return trained


def _refuse(
    train: ImageSet,
    test: ImageSet,
    members: int | Members | None,
    students: int | None,
    budget: float,
    average: str,
    seed: int,
) -> None:
    check_split(train, test)
    count = len(members) if isinstance(members, Members) else members
    if count is not None and count < 2:
        raise ViewraceError(f"members must be 2 or more, received {count}: an ensemble of one is the network itself")
    if students is not None and students < 0:
        raise ViewraceError(f"students must be 0 or more, received {students}: give how many there are in each cell")
    if not 0 < budget < float("inf"):
        raise ViewraceError(f"the budget must be above 0 minutes, received {budget:g}: give the minutes to train in")
    if average not in RULES:
        raise ViewraceError(f"average must be one of {', '.join(RULES)}, received {average!r}: choose one")
    if seed < 0:
        raise ViewraceError(f"seed must be at least 0, received {seed}: give a root seed")
