"""Where training runs: threads, number format of the products, device; set for one training and set back after it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from viewrace.config import Train
from viewrace.errors import ViewraceError
from viewrace.memory import require
from viewrace.nets import Family
from viewrace.train.objective import BLOCK_NUMBERS

__all__ = ["bf16_products", "device_of", "machine", "number_format", "require_training"]

FLOW_COPIES, DESCENT_COPIES = 14, 6
"""Sets of weights that a step holds at once: the state, the gradients, and what the stages are made of."""
LOGITS_COPIES = 3
GENERATOR = 1300
"""What the generator of one network's init takes, in float32 numbers."""


def number_format(config: Train) -> torch.dtype:
    """The format that weights and sums are kept in; products alone are shorter in mixed precision."""
    return torch.float64 if config.precision == "float64" else torch.float32


def device_of(config: Train) -> torch.device:
    """The device that is asked for; refused where it is not there."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ViewraceError("train.device needs a CUDA device, received cuda where torch finds none: set train.device=cpu")
    return torch.device(config.device)


def bf16_products(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def machine(config: Train) -> Iterator[torch.device]:
    """Within this block torch computes as `config` says; yields the device.

    Mixed precision is torch's `medium` float32 products: operands rounded to bf16, sums and results in float32 (on a CUDA
    device, on its tensor cores). Where the processor has no bf16 products it is float32, said once.
    """
    device, cores = device_of(config), os.cpu_count() or 1
    if config.threads is not None and config.threads > cores:
        raise ViewraceError(f"train.threads must be at most the {cores} cores here, received {config.threads}: lower it")
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        if config.precision == "mixed":
            torch.set_float32_matmul_precision("medium" if bf16_products(device) else _plain())
        yield device
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)


def require_training(family: Family, count: int, labels: Tensor, config: Train, shown: int = 0) -> None:
    """Refuse a training that cannot fit, before it allocates: every network's weights and logits, and one block.

    shown: examples that the networks will be shown afterwards, beside the training's own.
    """
    one = sum(tensor.numel() for tensor in family.init([torch.Generator()]).values())
    weights = one * (FLOW_COPIES if config.method == "flow" else DESCENT_COPIES)
    logits = LOGITS_COPIES * (len(labels) + shown) * (int(labels.max()) + 1)
    numbers = count * (weights + logits + GENERATOR) + 2 * max(BLOCK_NUMBERS, family.activations(1))
    lower = "train fewer at a time (--count), or lower " if count > 1 else "lower "
    lower += "data.examples and data.test_examples" if logits > weights else "net.width and data.dim"
    what = f"training {count} networks on {len(labels)} examples"
    require(number_format(config).itemsize * numbers, what, lower, device_of(config))


@cache
def _plain() -> str:
    logging.getLogger("viewrace").warning("no bf16 products on this machine, going on in float32")
    return "highest"
