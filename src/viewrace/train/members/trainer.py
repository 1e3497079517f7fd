"""Train members of any network: from a factory and images to networks that differ in their seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from viewrace.data.images import ImageSet
from viewrace.errors import ViewraceError
from viewrace.nets import Params
from viewrace.nets.module import Factory, ModuleNet, check_output, draw, stack
from viewrace.streams import Stream, torch_generator
from viewrace.train.members.batches import Batch, Batches, Teacher
from viewrace.train.members.config import MemberConfig
from viewrace.train.members.engine import choose_engine
from viewrace.train.members.keeping import digest, read_tensors, write_tensors
from viewrace.train.members.members import Members, Trace
from viewrace.train.members.steps import Descent, Soft, Step, gradients, rate_at
from viewrace.train.run import Progress

__all__ = ["train_members"]

KIND = "a checkpoint"


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
    members' logits is trained as one network. checkpoint: a file, written after each epoch, from which the same call goes on.
    A member that diverges is no error: see `Members.diverged`.
    """
    _check(config, count, start, alpha, temperature)
    members = range(start, start + count)
    modules = draw(factory, [torch_generator(root, Stream.INIT, member) for member in members])
    check_output(modules[0], data.shape, len(data.classes))
    batches = Batches(data, config, root, members, teacher, together=joint)
    run = _Run(ModuleNet(modules[0].to(config.device)), config, batches, Soft(alpha, temperature), joint)
    state = _State.fresh(*stack(modules), config)
    identity = _identity(data, config, root, members, batches, run.soft, joint, state) if checkpoint is not None else {}
    if checkpoint is None or not state.resume(checkpoint, identity):
        state.batched = run.choose(state)
    while state.epochs < config.epochs:
        run.epoch(state, progress)
        if checkpoint is not None:
            state.keep(checkpoint, identity)
    trace = Trace(torch.stack(state.loss), torch.stack(state.right))
    return Members(
        run.net, state.weights, state.buffers, batches.mean, batches.deviation, data.classes, root, start, trace, state.batched
    )


@dataclass
class _State:
    """All that changes while members train; loss and right are one (member,) tensor an epoch."""

    weights: Params
    buffers: Params
    descent: Descent
    loss: list[torch.Tensor]
    right: list[torch.Tensor]
    batched: bool = False

    @classmethod
    def fresh(cls, weights: Params, buffers: Params, config: MemberConfig) -> _State:
        weights = {name: tensor.to(config.device) for name, tensor in weights.items()}
        buffers = {name: tensor.to(config.device) for name, tensor in buffers.items()}
        return cls(weights, buffers, Descent(config, weights), [], [])

    @property
    def epochs(self) -> int:
        return len(self.loss)

    def keep(self, path: Path, identity: dict[str, Any]) -> None:
        trace = {"loss": torch.stack(self.loss), "right": torch.stack(self.right)}
        groups = {"weights": self.weights, "buffers": self.buffers, "velocity": self.descent.velocity, "trace": trace}
        write_tensors(path, KIND, groups, {"identity": identity, "batched": self.batched})

    def resume(self, path: Path, identity: dict[str, Any]) -> bool:
        """Take over what `keep` wrote; False where there is no file. A file of another training is refused."""
        if not path.exists():
            return False
        groups, note = read_tensors(path, KIND)
        others = [name for name in identity if note["identity"].get(name) != identity[name]]
        if others:
            raise ViewraceError(f"{path} is of another training (not the same {', '.join(others)}): choose another checkpoint")
        for mine, kept in ((self.weights, "weights"), (self.buffers, "buffers"), (self.descent.velocity, "velocity")):
            for name, tensor in mine.items():
                tensor.copy_(groups[kept][name])
        self.loss, self.right = list(groups["trace"]["loss"]), list(groups["trace"]["right"])
        self.batched = note["batched"]
        return True


@dataclass
class _Run:
    """What stays the same while members train."""

    net: ModuleNet
    config: MemberConfig
    batches: Batches
    soft: Soft
    joint: bool

    def step(self, state: _State, batch: Batch, batched: bool) -> Step:
        return gradients(
            self.net, state.weights, state.buffers, batch, self.soft, self.config.label_smoothing, batched, self.joint
        )

    def choose(self, state: _State) -> bool:
        batch = next(self.batches.epoch(0))
        return choose_engine(self.config, len(self.batches.members), lambda batched: self.step(state, batch, batched))

    def epoch(self, state: _State, progress: Progress | None) -> None:
        """Show every image once."""
        loss, right = torch.zeros(2, len(self.batches.members))
        done = state.epochs * self.batches.count
        steps = self.config.epochs * self.batches.count
        for batch in self.batches.epoch(state.epochs):
            step = self.step(state, batch, state.batched)
            state.descent.move(state.weights, step.gradient, rate_at(self.config, done, steps))
            state.buffers = step.buffers
            share = batch.labels.shape[1] / len(self.batches.labels)
            loss, right, done = loss + share * step.loss.cpu(), right + share * step.right.cpu(), done + 1
            if progress is not None:
                progress(done / steps)
        state.loss.append(loss)
        state.right.append(right)


def _identity(
    data: ImageSet, config: MemberConfig, root: int, members: range, batches: Batches, soft: Soft, joint: bool, state: _State
) -> dict[str, Any]:
    """What a checkpoint is of: the same call gives the same."""
    teacher = batches.teacher
    said = teacher.weights if isinstance(teacher, Members) else {} if teacher is None else {"logits": teacher}
    return {
        "settings": config.model_dump(mode="json", exclude={"device"}),
        "root": root,
        "members": [members.start, members.stop],
        "data": digest({"images": data.images, "labels": data.labels}),
        "teacher": [digest(said), asdict(soft)] if said else None,
        "joint": joint,
        "initial weights": digest(state.weights | state.buffers),
    }


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
