"""What each member sees at each step: its own order of the images, its own augmentation, its own teacher's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from viewrace.data.augment import augmented
from viewrace.data.images import ImageSet
from viewrace.errors import ViewraceError
from viewrace.streams import Stream, torch_generator
from viewrace.train.members.config import MemberConfig
from viewrace.train.members.members import Members

__all__ = ["Batch", "Batches", "Teacher"]

Teacher = Tensor | Members
"""Soft labels: logits (example, class) for all members or (member, example, class) for each, taken of the images as they are;
or members, whose averaged logits are taken of the very images, augmented, that the student sees."""
LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Batch:
    """inputs: (member, example, channel, height, width), normalised. labels: (member, example). soft: (member, example, class)
    the teacher's logits, or none. seeds: one a member, of the randomness in the modules."""

    inputs: Tensor
    labels: Tensor
    soft: Tensor | None
    seeds: list[int]

    def take(self, members: slice) -> Batch:
        """What `members` see."""
        soft = None if self.soft is None else self.soft[members]
        return Batch(self.inputs[members], self.labels[members], soft, self.seeds[members])


class Batches:
    """The mini-batches of an epoch, each decided by the root seed, the member and the epoch alone.

    together: all members see one order and one augmentation, those of the first (they are one network).
    """

    def __init__(
        self, data: ImageSet, config: MemberConfig, root: int, members: range, teacher: Teacher | None, together: bool = False
    ):
        self.config, self.root, self.members, self.together = config, root, members, together
        self.images, self.labels = data.images.to(config.device), data.labels.to(config.device)
        mean, deviation = _statistics(data.images, config.normalise)
        self.mean, self.deviation = mean.to(config.device), deviation.to(config.device)
        if teacher is not None:
            _check_teacher(teacher, data, len(members))
        if isinstance(teacher, Members) and config.augment.nothing:
            teacher = teacher.logits(data.images).mean(dim=0)
        self.teacher = teacher if isinstance(teacher, Members) or teacher is None else teacher.to(config.device)

    @property
    def count(self) -> int:
        """Mini-batches in an epoch, of nearly equal size."""
        return -(-len(self.labels) // self.config.batch)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch; epochs can be asked for in any order."""
        orders = [self._order(self._leader(member, self.config.same_order), epoch) for member in self.members]
        shifts = [torch_generator(self.root, Stream.AUGMENT, self._leader(member), epoch) for member in self.members]
        for step, rows in enumerate(torch.stack(orders).tensor_split(self.count, dim=1)):
            rows = rows.to(self.config.device)
            seen = self.images[rows]
            if not self.config.augment.nothing:
                draws = shifts[:1] if self.together else shifts
                shown = [augmented(images, self.config.augment, draw) for images, draw in zip(seen, draws, strict=False)]
                seen = torch.stack(shown).expand_as(seen)
            inputs = (seen - self.mean[:, None, None]) / self.deviation[:, None, None]
            yield Batch(inputs, self.labels[rows], self._soft(seen, rows), self._seeds(epoch, step))

    def _leader(self, member: int, same: bool = False) -> int:
        """The member whose draws this one uses."""
        return self.members[0] if self.together else 0 if same else member

    def _order(self, leader: int, epoch: int) -> Tensor:
        return torch.randperm(len(self.labels), generator=torch_generator(self.root, Stream.ORDER, leader, epoch))

    def _seeds(self, epoch: int, step: int) -> list[int]:
        return [torch_generator(self.root, Stream.MODULE, member, epoch, step).initial_seed() for member in self.members]

    def _soft(self, seen: Tensor, rows: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        if isinstance(self.teacher, Members):
            shown = seen[:1] if self.together else seen
            said = self.teacher.logits(shown.flatten(0, 1)).mean(dim=0).unflatten(0, shown.shape[:2])
            return said.to(seen.device).expand(len(seen), -1, -1)
        if self.teacher.ndim == 2:
            return self.teacher[rows]
        return torch.stack([said[mine] for said, mine in zip(self.teacher, rows, strict=True)])


def _statistics(images: Tensor, normalise: bool) -> tuple[Tensor, Tensor]:
    """(channel,) mean and standard deviation, or 0 and 1; a channel that hardly varies is not blown up."""
    if not normalise:
        return torch.zeros(images.shape[1]), torch.ones(images.shape[1])
    every = (0, 2, 3)
    return images.mean(dim=every), images.std(dim=every, correction=0).clamp(min=LEAST_DEVIATION)


def _check_teacher(teacher: Teacher, data: ImageSet, members: int) -> None:
    if isinstance(teacher, Members):
        if teacher.classes != data.classes:
            raise ViewraceError(
                f"a teacher must know the classes of the images, received {len(teacher.classes)} and {len(data.classes)} classes "
                "of other names: train it on the same data set"
            )
        if teacher.diverged.any():
            raise ViewraceError(
                f"a teacher's members must be finite, received {int(teacher.diverged.sum())} that diverged: take the others alone"
            )
        return
    shape = (len(data), len(data.classes))
    if tuple(teacher.shape) not in (shape, (members, *shape)) or not teacher.isfinite().all():
        raise ViewraceError(
            f"a teacher's logits must be finite and of shape {shape} or {(members, *shape)}, received {tuple(teacher.shape)}"
            f"{'' if teacher.isfinite().all() else ', some not finite'}: evaluate it on the training images"
        )
