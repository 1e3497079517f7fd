"""Examples that carry their ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Examples"]


@dataclass(frozen=True)
class Examples:
    """Inputs with everything that is known about them.

    inputs: (example, patch, dim) float32.
    labels: (example,) int64.
    single: (example,) bool, drawn as a single-view example.
    amplitude: (example, class, view) float32, summed amplitude z of each view in each example; 0 where absent.
    patch_feature: (example, patch) int64, class * M + view of the feature a patch holds; -1 for a patch of noise alone and
        throughout the flat layout, where one patch holds a sum.
    dropped: distracting views for which an example had no patch left, over all examples.
    """

    inputs: Tensor
    labels: Tensor
    single: Tensor
    amplitude: Tensor
    patch_feature: Tensor
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def own_amplitude(self) -> Tensor:
        """(example, view): amplitudes of the label's own views."""
        return self.amplitude[torch.arange(len(self)), self.labels]

    def views_shown(self, threshold: float = 0.0) -> Tensor:
        """(example,) how many of the label's own views have an amplitude above `threshold`."""
        return (self.own_amplitude > threshold).sum(dim=1)
