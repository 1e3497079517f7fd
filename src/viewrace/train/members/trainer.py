"""Train members of any network: from a factory and images to networks that differ in their seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from viewrace.data.images import ImageSet
from viewrace.errors import ViewraceError
from viewrace.nets.module import Factory, ModuleNet, check_output, draw, stack
from viewrace.streams import Stream, torch_generator
from viewrace.train.members.batches import Batch, Batches, Teacher
from viewrace.train.members.config import MemberConfig
from viewrace.train.members.descent import rate_at
from viewrace.train.members.engine import choose_engine
from viewrace.train.members.keeping import digest
from viewrace.train.members.members import Members
from viewrace.train.members.state import State
from viewrace.train.members.steps import Rule, Step, gradients
from viewrace.train.run import Progress

__all__ = ["train_members"]


def train_members(
    factory: Factory,
    data: ImageSet,
    config: MemberConfig,
    count: int,
    root: int,
    *,
    start: int = 0,
    teacher: Teacher | None = None,
    alpha: float = 1.0,
    temperature: float = 4.0,
    joint: bool = False,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Members:
    """Members `start` to `start + count` under the root seed, trained on `data` for `config.epochs`.

    teacher: soft labels, with weight `alpha` and `temperature`; alpha = 0 is hard labels alone. joint: the average of the
    members' logits is trained as one network, on one order and one augmentation; each member's gradient is then 1/count of
    what it would be alone. checkpoint: a file, written after each epoch, from which the same call goes on.
    A member that diverges is no error: see `Members.diverged`.
    """
    _check(config, count, start, alpha, temperature)
    members = range(start, start + count)
    modules = draw(factory, [torch_generator(root, Stream.INIT, member) for member in members])
    check_output(modules[0], data.shape, len(data.classes))
    state = State.fresh(*stack(modules), config)
    if count > 1 and (joint or config.same_order):
        _check_apart(state)
    batches = Batches(data, config, root, members, teacher if alpha else None, together=joint)
    run = _Run(ModuleNet(modules[0].to(config.device)), config, batches, Rule(alpha, temperature, config.label_smoothing, joint))
    identity = run.identity(data, teacher, state) if checkpoint is not None else {}
    if checkpoint is None or not state.resume(checkpoint, identity):
        state.batched = run.choose(state)
    while state.epochs < config.epochs:
        run.epoch(state, progress)
        if checkpoint is not None:
            state.keep(checkpoint, identity)
    look = (batches.mean, batches.deviation, data.classes)
    return Members(run.net, state.weights, state.buffers, *look, root, start, state.trace, state.batched)


@dataclass
class _Run:
    """What stays the same while members train."""

    net: ModuleNet
    config: MemberConfig
    batches: Batches
    rule: Rule

    def step(self, state: State, batch: Batch, batched: bool) -> Step:
        return gradients(self.net, state.weights, state.buffers, batch, self.rule, batched)

    def choose(self, state: State) -> bool:
        """Whether to take the members all at once."""
        batch = next(self.batches.epoch(0))
        return choose_engine(self.config, len(self.batches.members), lambda batched: self.step(state, batch, batched).loss)

    def epoch(self, state: State, progress: Progress | None) -> None:
        """Show every image once."""
        loss, right = torch.zeros(2, len(self.batches.members))
        steps = self.config.epochs * self.batches.count
        for batch in self.batches.epoch(state.epochs):
            step = self.step(state, batch, state.batched)
            state.descent.move(state.weights, step.gradient, rate_at(self.config, state.descent.done, steps))
            state.buffers = step.buffers
            share = batch.labels.shape[1] / len(self.batches.labels)
            loss, right = loss + share * step.loss.cpu(), right + share * step.right.cpu()
            if progress is not None:
                progress(state.descent.done / steps)
        state.loss.append(loss)
        state.right.append(right)

    def identity(self, data: ImageSet, teacher: Teacher | None, state: State) -> dict[str, Any]:
        """What a checkpoint is of: the same call gives the same."""
        said = {} if teacher is None else {"logits": teacher} if isinstance(teacher, torch.Tensor) else teacher.weights
        return {
            "settings": self.config.model_dump(mode="json", exclude={"device"}),
            "root seed": self.batches.root,
            "members": [self.batches.members.start, self.batches.members.stop],
            "data": digest({"images": data.images, "labels": data.labels}),
            "teacher": digest(said),
            "loss": asdict(self.rule),
            "initial weights": digest(state.weights | state.buffers),
        }


def _check_apart(state: State) -> None:
    """Refuse members that would be one network: one init, and one order of the images."""
    if all(torch.equal(tensor[0], tensor[1]) for tensor in state.weights.values()):
        raise ViewraceError(
            "members that see the same mini-batches must differ in their init, received a factory that gives one init to all: "
            "draw the weights in it, or let same_order and joint be false"
        )


def _check(config: MemberConfig, count: int, start: int, alpha: float, temperature: float) -> None:
    if count < 1 or start < 0:
        raise ViewraceError(f"count must be 1 or more and start 0 or more, received {count} and {start}: change them")
    if not 0 <= alpha <= 1 or not 0 < temperature < float("inf"):
        raise ViewraceError(
            f"alpha must lie in [0, 1] and temperature be above 0, received {alpha:g} and {temperature:g}: change them"
        )
    try:
        torch.zeros(1, device=config.device)
    except (RuntimeError, AssertionError):
        raise ViewraceError(f"device must be one that torch has here, received {config.device!r}: set device=cpu") from None
