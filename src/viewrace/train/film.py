"""A film of many networks: their weights at moments spread evenly over the logarithm of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets import Params
from viewrace.train.state import State

__all__ = ["Film"]


@dataclass
class Film:
    """Records all seeds of a run on the gradient flow.

    first, last: the earliest and the latest moment, in time on the flow; frames: how many moments from one to the other.
    Each seed has steps of its own, so a frame holds the first accepted step at or after its moment, and `time` says when
    that was. One more frame at the front holds the init; a seed that ends before a moment is shown as it ended.

    Afterwards weights: (frame, seed, ...) under each name, and time: (frame, seed).
    """

    first: float
    last: float
    frames: int
    weights: Params = field(default_factory=dict)
    time: Tensor = field(default_factory=lambda: torch.empty(0, 0))

    def __post_init__(self) -> None:
        if not 0 < self.first < self.last or self.frames < 2:
            raise ViewraceError(
                f"a film needs 0 < first < last and 2 frames or more, received first = {self.first:g}, last = {self.last:g}, "
                f"frames = {self.frames}: give the times between which to film"
            )
        moments = torch.logspace(math.log10(self.first), math.log10(self.last), self.frames, dtype=torch.float64)
        self._moments = torch.cat([torch.zeros(1, dtype=torch.float64), moments])

    def open(self, state: State) -> None:
        """Take the first frame, at the init."""
        shape = (len(self._moments),)
        self.weights = {name: tensor.cpu().expand(*shape, *tensor.shape).clone() for name, tensor in state.params.items()}
        self.time = state.time.cpu().expand(*shape, -1).clone()
        self._open = torch.ones_like(self.time, dtype=torch.bool)
        self.watch(state)

    def watch(self, state: State) -> None:
        """Take the frames whose moment the seeds have reached since the last call."""
        self._take(state, self._open & (self._moments[:, None] <= state.time.cpu()))

    def close(self, state: State) -> None:
        """Fill the frames that were never reached with the end of training."""
        self._take(state, self._open)

    def _take(self, state: State, due: Tensor) -> None:
        frame, seed = due.nonzero(as_tuple=True)
        for name, tensor in state.params.items():
            self.weights[name][frame, seed] = tensor.cpu()[seed]
        self.time[frame, seed] = state.time.cpu()[seed]
        self._open = self._open & ~due
