"""What fits into the time allowed: how many members, how many students, how many epochs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from viewrace.auditing.pilot import GRID, SHORT
from viewrace.data.images import ImageSet
from viewrace.errors import ViewraceError
from viewrace.nets.module import Factory
from viewrace.train.members import MemberConfig, train_members

__all__ = ["CELLS", "FEW_EPOCHS", "Plan", "choose_plan", "seconds_per_epoch"]

CELLS = len(GRID) + 1
"""Groups of students: every temperature and alpha, and self-distillation."""
Grid = tuple[tuple[float, float], ...]
SIZES: tuple[tuple[int, int, Grid], ...] = (
    (8, 2, GRID),
    (5, 2, GRID),
    (5, 1, GRID),
    (3, 1, GRID),
    (3, 1, SHORT),
    (5, 0, GRID),
    (3, 0, GRID),
    (2, 0, GRID),
)
"""Members, students in each cell, and the cells: the largest that fits is taken."""
MOST_EPOCHS, FEWEST_EPOCHS = 20, 4
FEW_EPOCHS = 8
"""Fewer than these, chosen for want of time, are worth a word."""
USED = 0.8
TIMED_BATCHES, TIMED_NETWORKS = 8, 2


@dataclass(frozen=True)
class Plan:
    """members, and students in each cell of the pilot (0: no pilot), each trained for `epochs`; seconds expected in all; grid:
    temperature and alpha of the cells."""

    members: int
    students: int
    epochs: int
    seconds: float
    grid: Grid = GRID

    @property
    def cells(self) -> int:
        """Groups of students: those of the grid, and self-distillation."""
        return len(self.grid) + 1

    @property
    def networks(self) -> int:
        return self.members + self.students * self.cells


def seconds_per_epoch(factory: Factory, data: ImageSet, config: MemberConfig, seed: int) -> float:
    """Seconds that one network needs for an epoch, from a few mini-batches of two networks trained one after the other."""
    few = data.take(torch.linspace(0, len(data) - 1, min(len(data), TIMED_BATCHES * config.batch)).long())
    loop = config.replace(engine="loop", epochs=1)
    train_members(factory, few.take(slice(0, config.batch)), loop, 1, seed)
    began = time.perf_counter()
    train_members(factory, few, loop, TIMED_NETWORKS, seed)
    return (time.perf_counter() - began) * len(data) / len(few) / TIMED_NETWORKS


def choose_plan(epoch: float, budget: float, members: int | None, epochs: int | None, students: int | None = None) -> Plan:
    """The largest plan that fits: most members and students first, for as many epochs as there is time, at most 20.

    epoch: seconds that a network needs for an epoch. budget: seconds; four fifths are planned for. members, epochs, students:
    as asked for, or None to choose. Raises ViewraceError where not even two members fit, and says what would.
    """
    fewest = FEWEST_EPOCHS if epochs is None else epochs
    sizes = _sizes(members, students)
    for count, each, grid in sizes:
        plan = Plan(count, each, fewest, 0.0, grid)
        affordable = int(USED * budget / (epoch * plan.networks))
        if affordable >= fewest:
            chosen = min(affordable, MOST_EPOCHS) if epochs is None else epochs
            return Plan(count, each, chosen, plan.networks * chosen * epoch, grid)
    taught = next((size for size in reversed(sizes) if size[1]), sizes[-1])
    least, whole = (Plan(count, each, fewest, 0.0, grid).networks for count, each, grid in (sizes[-1], taught))
    needed, with_students = (networks * fewest * epoch / USED / 60 for networks in (least, whole))
    raise ViewraceError(
        f"the budget must hold {least} networks of {fewest} epochs, received {budget / 60:.3g} min: give "
        f"{_up(needed)} min or more ({_up(with_students)} with students), or fewer images"
    )


def _sizes(members: int | None, students: int | None) -> tuple[tuple[int, int, Grid], ...]:
    """What may be trained, the largest first, where the number of members or of students is asked for or both are left open."""
    sizes = SIZES if members is None else ((members, 2, GRID), (members, 1, GRID), (members, 1, SHORT), (members, 0, GRID))
    if students is None:
        return sizes
    grids = (GRID, SHORT) if students else (GRID,)
    return tuple(dict.fromkeys((count, students, grid) for count, _, _ in sizes for grid in grids))


def _up(minutes: float) -> str:
    """Minutes rounded up to two digits."""
    digits = 10 ** max(0, 1 - len(str(int(minutes)))) if minutes >= 1 else 100
    return f"{-(-minutes * digits // 1) / digits:g}"
