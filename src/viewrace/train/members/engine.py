"""Members all at once or one after the other: whichever is faster for this network on this machine, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets.module import brief
from viewrace.train.members.config import MemberConfig

__all__ = ["choose_engine"]

TURNS = 2
"""Steps that each way is timed on; the first pays for the set-up, the fastest counts."""
UNSURE = 1e-3
"""Relative difference between the losses of two steps above which they are not equal, rounding allowed for."""


def choose_engine(config: MemberConfig, count: int, step: Callable[[bool], Tensor]) -> bool:
    """Whether to take the members all at once. `step(batched)` is the losses of one step that leaves nothing behind.

    A network that cannot be taken at once (dropout, in-place tricks, control flow on data), or whose losses are then others, is
    taken one by one. Raises ViewraceError where the network fails, where its loss differs between two equal steps, or where
    `batched` is asked for and cannot be.
    """
    if config.engine == "loop" or (config.engine == "measured" and count == 1):
        _fastest(step, False)
        return False
    try:
        at_once, losses = _fastest(step, True)
    except ViewraceError as error:
        if config.engine == "batched":
            raise ViewraceError(f"the members cannot be trained all at once ({error}): set engine=loop") from None
        at_once, losses = float("inf"), torch.empty(0)
    if config.engine == "batched":
        return True
    one_by_one, others = _fastest(step, False)
    return at_once < one_by_one and _alike(losses, others)


def _fastest(step: Callable[[bool], Tensor], batched: bool) -> tuple[float, Tensor]:
    """Seconds of the fastest of a few equal steps, and their losses."""
    taken, losses = [], []
    for _ in range(TURNS):
        begin = time.perf_counter()
        try:
            losses.append(step(batched).cpu())
        except Exception as error:
            raise ViewraceError(f"the network failed in a training step: {brief(error)}; mend it") from None
        taken.append(time.perf_counter() - begin)
    if not _alike(losses[0], losses[1]):
        raise ViewraceError(
            "a network must give the same loss twice under one seed, received others: take its random numbers from torch alone"
        )
    return min(taken), losses[0]


def _alike(losses: Tensor, others: Tensor) -> bool:
    return torch.allclose(losses, others, rtol=UNSURE, atol=UNSURE, equal_nan=True)
