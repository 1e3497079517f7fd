"""What a loss on the examples cannot say: penalties on inputs of their own, with their own residual.

A penalty is evaluated beside the loss at every step, on a fixed batch of extra inputs. Like a loss it enters through a residual
dPenalty/dlogits, so it acts on every family of networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Penalty", "ProbePenalty", "shared_strength", "view_entropy"]


class Penalty(ABC):
    """A function of many networks' logits on `inputs` (example, patch, dim), weight included."""

    inputs: Tensor

    @abstractmethod
    def evaluate(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Value (seed,) and residual (seed, example, class) at logits (seed, example, class) on `inputs`."""


class ProbePenalty(Penalty):
    """Makes the views of a class compete: a penalty on how strongly each view is answered when shown alone.

    probes: (class, view, probe, patch, dim), every view alone. With s (seed, class, view) the mean over probes of the logit of
    a view's own class, 0 where negative, the value is the mean over classes of `competition` times `shared_strength` plus
    `entropy` times `view_entropy`. Both are 0 where a class answers one view alone.
    """

    def __init__(self, probes: Tensor, competition: float = 0.0, entropy: float = 0.0):
        self.shape = probes.shape[:3]
        self.inputs = probes.flatten(0, 2)
        self.competition, self.entropy = competition, entropy

    def evaluate(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        classes, _, probes = self.shape
        index = torch.arange(classes)
        own = logits.unflatten(1, self.shape)[:, index, :, :, index].transpose(0, 1).mean(dim=3)
        strength = own.clamp(min=0)
        pairs, by_pairs = shared_strength(strength)
        unsure, by_unsure = view_entropy(strength)
        value = (self.competition * pairs + self.entropy * unsure).mean(dim=1)
        slope = (self.competition * by_pairs + self.entropy * by_unsure) * (own > 0) / (classes * probes)
        residual = torch.zeros_like(logits).unflatten(1, self.shape)
        residual[:, index, :, :, index] = slope.transpose(0, 1)[..., None].expand(-1, -1, -1, probes)
        return value, residual.flatten(1, 3)


def shared_strength(strength: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over pairs of views of s_m s_n (seed, class), and its derivative by s (seed, class, view); s is not negative."""
    total = strength.sum(dim=-1, keepdim=True)
    rest = total - strength
    return (strength * rest).sum(dim=-1) / 2, rest


def view_entropy(strength: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of the shares a = s / sum s (seed, class), and its derivative -(log a + entropy) / sum s.

    Where s = 0 the derivative is infinite; 0 is given there, since nothing pulls a view up that is not answered.
    """
    total = strength.sum(dim=-1, keepdim=True)
    tiny = torch.finfo(strength.dtype).tiny
    share = strength / total.clamp(min=tiny)
    log_share = share.clamp(min=tiny).log()
    entropy = -(share * log_share).sum(dim=-1, keepdim=True)
    slope = torch.where(strength > 0, -(log_share + entropy) / total.clamp(min=tiny), 0.0)
    return entropy.squeeze(-1), slope
