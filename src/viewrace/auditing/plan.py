"""What fits into the time allowed: how many members, how many students, how many epochs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from viewrace.auditing.pilot import ALPHAS, TEMPERATURES
from viewrace.data.images import ImageSet
from viewrace.errors import ViewraceError
from viewrace.nets.module import Factory
from viewrace.train.members import MemberConfig, train_members

__all__ = ["CELLS", "Plan", "choose_plan", "seconds_per_epoch"]

CELLS = len(TEMPERATURES) * len(ALPHAS) + 1
"""Groups of students: every temperature and alpha, and self-distillation."""
SIZES = ((8, 2), (5, 2), (5, 1), (3, 1), (2, 0))
MOST_EPOCHS, FEWEST_EPOCHS = 20, 5
USED = 0.8
TIMED_BATCHES, TIMED_NETWORKS = 8, 2


@dataclass(frozen=True)
class Plan:
    """members, and students in each cell of the pilot (0: no pilot), each trained for `epochs`; seconds expected in all."""

    members: int
    students: int
    epochs: int
    seconds: float

    @property
    def networks(self) -> int:
        return self.members + self.students * CELLS


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
    sizes = SIZES if members is None else tuple((members, each) for each in (2, 1, 0))
    if students is not None:
        sizes = tuple(dict.fromkeys((count, students) for count, _ in sizes))
    fewest = FEWEST_EPOCHS if epochs is None else epochs
    for count, each in sizes:
        plan = Plan(count, each, fewest, 0.0)
        affordable = int(USED * budget / (epoch * plan.networks))
        if affordable >= fewest:
            chosen = min(affordable, MOST_EPOCHS) if epochs is None else epochs
            return Plan(count, each, chosen, plan.networks * chosen * epoch)
    least = Plan(*sizes[-1], fewest, 0.0)
    needed, whole = (networks * fewest * epoch / USED / 60 for networks in (least.networks, least.members + CELLS))
    raise ViewraceError(
        f"the budget must hold {least.networks} networks of {fewest} epochs, received {budget / 60:.3g} min: give "
        f"{_up(needed)} min or more ({_up(max(needed, whole))} with students), or fewer images"
    )


def _up(minutes: float) -> str:
    """Minutes rounded up to two digits."""
    digits = 10 ** max(0, 1 - len(str(int(minutes)))) if minutes >= 1 else 100
    return f"{-(-minutes * digits // 1) / digits:g}"
