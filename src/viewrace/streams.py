"""Random streams: one root seed, one explicit generator for each purpose, no global generator anywhere.

A stream is named by a purpose and by indices, so that drawing more of one thing never shifts another: an ensemble grown
from 10 to 20 members keeps its first 10 as they were.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch

__all__ = ["Stream", "numpy_generator", "torch_generator"]


class Stream(IntEnum):
    """What a generator is for. The numbers are part of every result: never renumber, only append."""

    FEATURES = 0
    TRAIN = 1
    TEST = 2
    TEST_SINGLE = 3
    ORDER = 5
    INIT = 6
    BOOTSTRAP = 7
    AUGMENT = 8
    MODULE = 9
    COMPOSITE = 10


def _sequence(root: int, stream: Stream, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(entropy=root, spawn_key=(int(stream), *indices))


def torch_generator(root: int, stream: Stream, *indices: int) -> torch.Generator:
    """A CPU generator for `stream` under the root seed; `indices` name one member or one role within it."""
    low, high = _sequence(root, stream, indices).generate_state(2, np.uint32)
    return torch.Generator().manual_seed((int(high) << 32 | int(low)) & 0x7FFF_FFFF_FFFF_FFFF)


def numpy_generator(root: int, stream: Stream, *indices: int) -> np.random.Generator:
    """The NumPy twin of `torch_generator`, for bootstraps and probes."""
    return np.random.default_rng(_sequence(root, stream, indices))
