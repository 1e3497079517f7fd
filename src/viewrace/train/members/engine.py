"""Members all at once or one after the other: whichever is faster for this network on this machine, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from viewrace.errors import ViewraceError
from viewrace.nets.module import brief
from viewrace.train.members.config import MemberConfig

__all__ = ["choose_engine"]

TURNS = 2


def choose_engine(config: MemberConfig, count: int, step: Callable[[bool], object]) -> bool:
    """Whether to take the members all at once. `step(batched)` is one step of all of them that leaves nothing behind.

    A network that cannot be taken at once (dropout, in-place tricks, control flow on data) is taken one by one.
    Raises ViewraceError where the network fails, or where `batched` is asked for and cannot be.
    """
    if config.engine == "loop" or (config.engine == "measured" and count == 1):
        _fastest(step, False, 1)
        return False
    try:
        batched = _fastest(step, True, TURNS)
    except ViewraceError as error:
        if config.engine == "batched":
            raise ViewraceError(f"the members cannot be trained all at once ({error}): set engine=loop") from None
        batched = float("inf")
    return config.engine == "batched" or batched < _fastest(step, False, TURNS)


def _fastest(step: Callable[[bool], object], batched: bool, turns: int) -> float:
    """Seconds of the fastest of a few steps."""
    taken = []
    for _ in range(turns):
        begin = time.perf_counter()
        try:
            step(batched)
        except Exception as error:
            raise ViewraceError(f"the network failed in a training step: {brief(error)}; mend it") from None
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return min(taken)
