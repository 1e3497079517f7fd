"""Trained networks of one architecture that differ in their seed: what they say of images, saved and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from viewrace.data.images import ImageSet
from viewrace.errors import ViewraceError
from viewrace.nets import Params
from viewrace.nets.module import AT_ONCE, Factory, ModuleNet, draw, stack
from viewrace.streams import Stream, torch_generator
from viewrace.train.members.keeping import read_tensors, write_tensors

__all__ = ["EVALUATED", "Members", "Trace"]

EVALUATED = 250
"""Images that are looked at together, to bound memory."""
KIND = "members"


@dataclass(frozen=True)
class Trace:
    """loss, right: (epoch, member), mean training loss and fraction of training images right, over each epoch as it ran."""

    loss: Tensor
    right: Tensor


@dataclass(frozen=True)
class Members:
    """Networks and what they need to look at images; every tensor of weights and buffers has the member axis first.

    mean, deviation: (channel,) taken off the images and divided by. start: index of the first member under the root seed.
    batched: whether they look at images all at once or one after the other.
    """

    net: ModuleNet
    weights: Params
    buffers: Params
    mean: Tensor
    deviation: Tensor
    classes: tuple[str, ...]
    root: int
    start: int
    trace: Trace
    batched: bool

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))

    @property
    def diverged(self) -> Tensor:
        """(member,) bool: a weight is no longer finite, so the member says nothing."""
        finite = [tensor.flatten(1).isfinite().all(dim=1) for tensor in self.weights.values()]
        return ~torch.stack(finite).all(dim=0).cpu()

    def take(self, members: Tensor | slice | Sequence[int]) -> Members:
        """The networks `members` alone; `start` stays that of the first of all."""
        picked = {name: tensor[members] for name, tensor in self.weights.items()}
        kept = {name: tensor[members] for name, tensor in self.buffers.items()}
        trace = Trace(self.trace.loss[:, members], self.trace.right[:, members])
        return replace(self, weights=picked, buffers=kept, trace=trace)

    def joined(self, others: Members) -> Members:
        """These members and, after them, others of the same architecture and data: an ensemble grown."""
        if _shapes(self.weights) != _shapes(others.weights) or not torch.equal(self.mean, others.mean):
            raise ViewraceError("members can be joined to others of one architecture and data set, received others: train alike")
        trace = Trace(
            torch.cat([self.trace.loss, others.trace.loss], dim=1), torch.cat([self.trace.right, others.trace.right], dim=1)
        )
        weights = {name: torch.cat([tensor, others.weights[name]]) for name, tensor in self.weights.items()}
        buffers = {name: torch.cat([tensor, others.buffers[name]]) for name, tensor in self.buffers.items()}
        return replace(self, weights=weights, buffers=buffers, trace=trace)

    @torch.no_grad()
    def logits(self, images: Tensor, block: int = EVALUATED) -> Tensor:
        """(member, example, class) float32 logits on images (example, channel, height, width) in [0, 1], on the CPU."""
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise ViewraceError(
                f"these members look at images (example, {len(self.mean)}, height, width), received shape {tuple(images.shape)}: "
                "give images like those they were trained on"
            )
        parts = []
        for part in images.split(block):
            inputs = (part.to(self.mean.device) - self.mean[:, None, None]) / self.deviation[:, None, None]
            parts.append(torch.cat([self._said(slice(first, first + AT_ONCE), inputs) for first in range(0, len(self), AT_ONCE)]))
        return torch.cat(parts, dim=1)

    def _said(self, members: slice, inputs: Tensor) -> Tensor:
        """(member, example, class) what some of the members say, on the CPU."""
        weights = {name: tensor[members] for name, tensor in self.weights.items()}
        buffers = {name: tensor[members] for name, tensor in self.buffers.items()}
        return self.net.respond(weights, buffers, inputs, batched=self.batched)[0].cpu()

    def accuracy(self, data: ImageSet, block: int = EVALUATED) -> Tensor:
        """(member,) fraction of images right; NaN for a member whose logits are not finite."""
        logits = self.logits(data.images, block)
        right = (logits.argmax(dim=-1) == data.labels).float().mean(dim=1)
        return right.masked_fill(~logits.flatten(1).isfinite().all(dim=1), torch.nan)

    def save(self, path: str | Path) -> None:
        """Write all members as one safetensors file, whole or not at all."""
        groups = {
            "weights": self.weights,
            "buffers": self.buffers,
            "input": {"mean": self.mean, "deviation": self.deviation},
            "trace": {"loss": self.trace.loss, "right": self.trace.right},
        }
        note = {"classes": self.classes, "root": self.root, "start": self.start, "batched": self.batched}
        write_tensors(Path(path), KIND, groups, note)

    @classmethod
    def load(cls, path: str | Path, factory: Factory) -> Members:
        """Read what `save` wrote, on the CPU; `factory` builds the architecture that the tensors must fit."""
        groups, note = read_tensors(Path(path), KIND)
        module = draw(factory, [torch_generator(note["root"], Stream.INIT, note["start"])])[0]
        for asked, found in zip(stack([module]), (groups["weights"], groups["buffers"]), strict=True):
            if _shapes(asked) != _shapes(found):
                raise ViewraceError(f"{path} holds networks of another architecture: give the factory they were trained with")
        return cls(
            net=ModuleNet(module),
            weights=groups["weights"],
            buffers=groups["buffers"],
            mean=groups["input"]["mean"],
            deviation=groups["input"]["deviation"],
            trace=Trace(**groups["trace"]),
            **note | {"classes": tuple(note["classes"])},
        )


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape[1:]) for name, tensor in params.items()}
