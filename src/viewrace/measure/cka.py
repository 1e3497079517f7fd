"""How alike two networks see the same examples: centred kernel alignment."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["linear_cka", "pairwise_cka"]


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA of two representations (example, feature) of the same examples: 0 (unrelated) to 1 (equal up to a rotation
    and a scale). |A'B|^2 / (|A'A| |B'B|) with centred columns (Kornblith et al. 2019). 0 where one of them is constant.
    """
    a, b = ((part - part.mean(dim=0)).double() for part in (first, second))
    size = float((a.T @ a).norm() * (b.T @ b).norm())
    return float((a.T @ b).norm() ** 2) / size if size > 0 else 0.0


def pairwise_cka(features: Tensor) -> Tensor:
    """(member, member) linear CKA between all members' representations (member, example, feature)."""
    centred = (features - features.mean(dim=1, keepdim=True)).double()
    cross = torch.einsum("aef,beg->abfg", centred, centred).square().sum(dim=(2, 3))
    own = cross.diagonal().sqrt()
    size = own[:, None] * own[None, :]
    return torch.where(size > 0, cross / size.clamp(min=1e-300), 0.0)
