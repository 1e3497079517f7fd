"""Inputs that stay in a file and are read in parts, for data that do not fit in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from viewrace.errors import ViewraceError

__all__ = ["mapped"]


def mapped(path: str | Path) -> Tensor:
    """Inputs (example, patch, dim) of a .npy file of float32, mapped and not read: `train` takes them in place of a tensor.

    A training on the full batch then reads the file once an evaluation, part by part, and its gradient is exact.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except OSError as error:
        raise ViewraceError(f"cannot read {path}: {error.strerror or error}; give a .npy file") from None
    except ValueError:
        raise ViewraceError(f"{path} is no .npy file of numbers: write it with numpy.save") from None
    if array.dtype != np.float32 or array.ndim != 3:
        shape = " x ".join(map(str, array.shape))
        raise ViewraceError(f"{path} must hold float32 (example, patch, dim), received {array.dtype} {shape}: convert it")
    return torch.from_numpy(array)
