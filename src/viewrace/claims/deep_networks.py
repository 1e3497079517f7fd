"""The networks behind the five columns of the deep claims: each group is trained once, whichever claim asks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.claims.base import Scale
from viewrace.claims.deep_data import DeepSet, deep_set, experiment_root
from viewrace.claims.lab import Lab
from viewrace.nets.module import ModuleNet, draw
from viewrace.streams import Stream, torch_generator
from viewrace.train import Outcome
from viewrace.train.members import Members, Trace, train_members

__all__ = ["ALPHA", "COST", "EXPERIMENTS", "MEMBERS", "STUDENTS", "TEMPERATURE", "Experiment"]

EXPERIMENTS = {Scale.SMOKE: 2, Scale.QUICK: 2, Scale.FULL: 2}
"""Experiments on each set and root seed: images, inits and orders of their own."""
MEMBERS = {Scale.SMOKE: 2, Scale.QUICK: 4, Scale.FULL: 10}
STUDENTS = {Scale.SMOKE: 2, Scale.QUICK: 3, Scale.FULL: 5}
TEMPERATURE, ALPHA = 2.0, 1.0
COST = {"digits": 1.0, "cifar10": 4.0, "composite": 1.0}


class Experiment:
    """The networks of one experiment on one set; the lab keeps each group, so that it is trained once."""

    def __init__(self, lab: Lab, name: str, scale: Scale, root: int, number: int):
        self.lab, self.name, self.scale = lab, name, scale
        self.root = experiment_root(root, number)
        self.key = f"{lab.settings.fingerprint()[:16]}-deep-{scale}-{name}-{root}-{number}"
        self.count, self.students = MEMBERS[scale], STUDENTS[scale]

    @cached_property
    def data(self) -> DeepSet:
        return deep_set(self.name, self.scale, self.lab.settings, self.root)

    def members(self) -> Members:
        """Networks that differ in their seed alone, on hard labels."""
        return self._group("members", lambda: self._train(self.count, 0))

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Accuracy on the test images: a number an experiment (`joint`, `ensemble`) or one a network; and who diverged."""
        found = self.lab.kept(f"{self.key}-scores", self._scores)
        self.lab.progress(COST[self.name] * self._networks)
        return {name: tensor.numpy() for name, tensor in found.items()}

    @property
    def _networks(self) -> int:
        return 2 * self.count + 2 * self.students

    def _scores(self) -> dict[str, Tensor]:
        said = {name: group.logits(self.data.test.images) for name, group in self._groups().items()}
        right = {name: _accuracy(logits, self.data.test.labels) for name, logits in said.items()}
        averages = {"ensemble": said["single"].mean(dim=0), "joint": said["joint"].mean(dim=0)}
        right |= {name: _accuracy(logits, self.data.test.labels) for name, logits in averages.items()}
        diverged = [~logits.flatten(1).isfinite().all(dim=1) for logits in said.values()]
        outcome = torch.where(torch.cat(diverged), int(Outcome.DIVERGED), int(Outcome.CONVERGED))
        return right | {"outcome": outcome}

    def _groups(self) -> dict[str, Members]:
        members = self.members()
        return {
            "single": members,
            "joint": self._group("joint", self._joint),
            "distilled": self._group("distilled", lambda: self._train(self.students, self.count, members)),
            "self_distilled": self._group("heirs", lambda: self._heirs(members)),
        }

    def _joint(self) -> Members:
        """The average trained as one network. Its members' gradients are 1/count of what they would be alone, so the rate is
        count times as high and the decay as much lower: each moves as a single network does, but for the residual."""
        config = self.data.config
        config = config.replace(rate=config.rate * self.count, weight_decay=config.weight_decay / self.count)
        return self._train(self.count, 0, config=config, joint=True)

    def _heirs(self, members: Members) -> Members:
        """Each taught by one member of its own."""
        heirs = [self._train(1, self.count + index, members.take([index])) for index in range(self.students)]
        return reduce(Members.joined, heirs)

    def _train(self, count: int, start: int, teacher: Members | None = None, **how: Any) -> Members:
        asked: dict[str, Any] = {"config": self.data.config, "alpha": ALPHA, "temperature": TEMPERATURE} | how
        return train_members(
            self.data.factory, self.data.train, count=count, root=self.root, start=start, teacher=teacher, **asked
        )

    def _group(self, label: str, make: Callable[[], Members]) -> Members:
        kept = self.lab.kept(f"{self.key}-{label}", lambda: _pack(make()))
        return _unpack(kept, self.data, self.root)


_PARTS = ("weights", "buffers")


def _pack(members: Members) -> dict[str, Tensor]:
    packed = {f"{part}.{name}": tensor for part in _PARTS for name, tensor in getattr(members, part).items()}
    trace = {"loss": members.trace.loss, "right": members.trace.right}
    start = torch.tensor([members.start, members.batched])
    return packed | trace | {"mean": members.mean, "deviation": members.deviation, "start": start}


def _unpack(tensors: Mapping[str, Tensor], data: DeepSet, root: int) -> Members:
    parts = {
        part: {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")} for part in _PARTS
    }
    start, batched = tensors["start"].tolist()
    net = ModuleNet(draw(data.factory, [torch_generator(root, Stream.INIT, start)])[0])
    trace = Trace(tensors["loss"], tensors["right"])
    look = (tensors["mean"], tensors["deviation"], data.train.classes)
    return Members(net, parts["weights"], parts["buffers"], *look, root, start, trace, bool(batched))


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """(...,) of logits (..., example, class); one that is not finite is wrong."""
    right = (logits.argmax(dim=-1) == labels) & logits.isfinite().all(dim=-1)
    return right.double().mean(dim=-1)
