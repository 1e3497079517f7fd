"""Can the ensemble be distilled: pilot students over temperatures and alphas, and the share of the gain that they keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from viewrace.auditing.spread import LEVEL, group_sums, groups_of, left_out, spread
from viewrace.auditing.table import MEASURES, score
from viewrace.measure import Estimate, halves
from viewrace.train.losses import averaged

__all__ = ["ALPHAS", "GRID", "SHORT", "TEMPERATURES", "Cell", "Pilot", "Reach", "Students", "fly", "right_of", "share_kept"]

TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
ALPHAS = (1.0, 0.5)
GRID = tuple((temperature, alpha) for alpha in ALPHAS for temperature in TEMPERATURES)
SHORT = tuple((temperature, alpha) for temperature, alpha in GRID if temperature < max(TEMPERATURES))
"""Where there is no time for all: without the highest temperature, at which a short training is the least settled."""
Row = NDArray[np.float64]
Students = Callable[[Tensor, float, float], Tensor]
"""Trains students on a teacher's logits of the training examples (example, class), at a temperature and an alpha, for as long
as a member; gives their logits of the test examples (student, example, class)."""


@dataclass(frozen=True)
class Cell:
    """Students at one temperature and alpha: their accuracy, and the share of the gain that they keep."""

    temperature: float
    alpha: float
    accuracy: float
    share: Estimate


@dataclass(frozen=True)
class Pilot:
    """What the students kept of the gain over a hard-label network trained for the same time, which is what a member is.

    cells: every temperature and alpha. temperature, alpha: the best. share: what the best keeps, chosen on one half of the
    test examples and judged on the other, both ways, so that the choice does not flatter it. self_share: the same of students
    of one member. quality: levels of the best students, by measure. students: how many in each cell.
    """

    cells: tuple[Cell, ...]
    temperature: float
    alpha: float
    share: Estimate
    self_share: Estimate
    quality: dict[str, Estimate]
    students: int


def fly(
    students: Students,
    member_logits: tuple[Tensor, Tensor],
    labels: Tensor,
    rule: str,
    generator: np.random.Generator,
    grid: Sequence[tuple[float, float]] = GRID,
) -> Pilot:
    """Train students at every temperature and alpha of the grid, and of one member at the best; judge them on the test examples.

    member_logits: of the training examples and of the test examples, (member, example, class). labels: of the test examples.
    """
    on_train, on_test = member_logits
    teacher = averaged(on_train, rule)[0]
    said = [students(teacher, temperature, alpha) for temperature, alpha in grid]
    group = groups_of(labels, generator)
    right = [right_of(logits, labels) for logits in said]
    reach = Reach(right_of(averaged(on_test, rule), labels)[0], right_of(on_test, labels), group)
    noise = _student_noise(right)
    cells = [
        Cell(*at, float(mine.mean()), reach.share(mine.mean(axis=0), noise / len(mine)))
        for at, mine in zip(grid, right, strict=True)
    ]
    best = int(np.argmax([cell.accuracy for cell in cells]))
    alone = students(on_train[0], *grid[best])
    half = halves(labels, generator)
    share = share_kept(right, reach, half)
    self_share = reach.share(right_of(alone, labels).mean(axis=0), noise / len(alone))
    return Pilot(tuple(cells), *grid[best], share, self_share, _quality(said[best], labels, half, group), len(right[0]))


def right_of(logits: Tensor, labels: Tensor) -> Row:
    """(..., example) 1 where the largest of logits (..., example, class) is the label's, else 0."""
    return (logits.argmax(dim=-1) == labels).double().numpy()


@dataclass(frozen=True)
class Reach:
    """From accuracy to the share of the gain: 0 is the mean member, 1 the ensemble. ensemble: (example,) right or not;
    members: (member, example)."""

    ensemble: Row
    members: Row
    group: NDArray[np.int64]

    def share(self, right: Row, variance: float) -> Estimate:
        """The share that students with this mean `right` (example,) keep; variance is that of their mean accuracy over
        students, with its degrees of freedom already in it."""
        columns = group_sums(np.stack([right, self.ensemble, *self.members]), self.group)

        def at(left: int | None, member: int | None) -> float:
            student, ensemble, *single = left_out(columns, left)
            base = float(np.mean([one for index, one in enumerate(single) if index != member]))
            return float((student - base) / (ensemble - base)) if ensemble > base else 0.0

        gain = float(self.ensemble.mean() - self.members.mean())
        over_students = variance / gain**2 if gain > 0 else 0.0
        return spread(at, columns.shape[1], len(self.members), len(right), over_students)


def share_kept(right: Sequence[Row], reach: Reach, half: Tensor) -> Estimate:
    """Share of the gain that the best students keep: chosen on one half (example,) of the test examples and judged on the other,
    both ways. right: for each cell (student, example)."""
    return reach.share(_crossed(right, half.numpy()), _student_noise(right) / len(right[0]))


def _student_noise(right: Sequence[Row]) -> float:
    """Square of the half-width of a t interval for one student's accuracy, from students of the same cell; all cells pooled.

    right: for each cell (student, example), as many students in each.
    """
    accuracy = np.stack([mine.mean(axis=1) for mine in right])
    free = accuracy.shape[0] * (accuracy.shape[1] - 1)
    if free == 0:
        return 0.0
    variance = float(np.square(accuracy - accuracy.mean(axis=1, keepdims=True)).sum()) / free
    return variance * float(stats.t.ppf((1 + LEVEL) / 2, free)) ** 2


def _crossed(right: Sequence[Row], half: NDArray[np.bool_]) -> Row:
    """(example,) mean `right` of the students that were best on the other half."""
    crossed = np.empty(len(half))
    for judged in (half, ~half):
        best = int(np.argmax([mine[:, ~judged].mean() for mine in right]))
        crossed[judged] = right[best][:, judged].mean(axis=0)
    return crossed


def _quality(said: Tensor, labels: Tensor, half: Tensor, group: NDArray[np.int64]) -> dict[str, Estimate]:
    table = score(said, labels, torch.as_tensor(half), group)
    return {name: table.level(name, 1) for name in MEASURES}
