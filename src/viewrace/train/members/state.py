"""All that changes while members train, kept in a checkpoint after each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from viewrace.errors import ViewraceError
from viewrace.nets import Params
from viewrace.train.members.config import MemberConfig
from viewrace.train.members.descent import Descent
from viewrace.train.members.keeping import read_tensors, write_tensors
from viewrace.train.members.members import Trace

__all__ = ["State"]

KIND = "a checkpoint"


@dataclass
class State:
    """Weights and buffers of all members, the memory of the descent, and loss and right: one (member,) tensor an epoch.

    batched: how a step takes the members, all at once or one by one; kept, so that a run goes on as it began.
    """

    weights: Params
    buffers: Params
    descent: Descent
    loss: list[torch.Tensor]
    right: list[torch.Tensor]
    batched: bool = False

    @classmethod
    def fresh(cls, weights: Params, buffers: Params, config: MemberConfig) -> State:
        """The state before the first step."""
        weights = {name: tensor.to(config.device) for name, tensor in weights.items()}
        buffers = {name: tensor.to(config.device) for name, tensor in buffers.items()}
        return cls(weights, buffers, Descent(config, weights), [], [])

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.loss)

    @property
    def trace(self) -> Trace:
        """Loss and fraction right of every epoch."""
        return Trace(torch.stack(self.loss), torch.stack(self.right))

    def keep(self, path: Path, identity: dict[str, Any]) -> None:
        """Write everything; `identity` says what training it is of."""
        trace = {"loss": self.trace.loss, "right": self.trace.right}
        groups = {"weights": self.weights, "buffers": self.buffers, **self.descent.kept, "trace": trace}
        write_tensors(path, KIND, groups, {"identity": identity, "batched": self.batched, "steps": self.descent.done})

    def resume(self, path: Path, identity: dict[str, Any]) -> bool:
        """Take over what `keep` wrote; False where there is no file. A file of another training is refused."""
        if not path.exists():
            return False
        groups, note = read_tensors(path, KIND)
        others = [name for name in identity if note["identity"].get(name) != identity[name]]
        if others:
            raise ViewraceError(f"{path} is of another training (not the same {', '.join(others)}): choose another checkpoint")
        own = {"weights": self.weights, "buffers": self.buffers, **self.descent.kept}
        for group, tensors in own.items():
            for name, tensor in tensors.items():
                tensor.copy_(groups[group][name])
        self.loss, self.right = list(groups["trace"]["loss"]), list(groups["trace"]["right"])
        self.batched, self.descent.done = note["batched"], note["steps"]
        return True
