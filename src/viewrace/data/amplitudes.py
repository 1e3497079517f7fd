"""How strongly each example shows each view: the random part that both layouts share."""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.config import Data

__all__ = ["draw_amplitudes", "uniform"]


def uniform(low_high: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform numbers in [low, high]."""
    low, high = low_high
    return low + (high - low) * torch.rand(shape, generator=generator)


def draw_amplitudes(config: Data, labels: Tensor, single: Tensor, generator: torch.Generator) -> Tensor:
    """(example, class, view): summed amplitude of every view, 0 where it is absent.

    The label's own views: in a multi-view example each is active with chance p (drawn again while none is), in a single-view
    example one view, uniform, is, and the others have `weak_amplitude`. Views of other classes are present with chance s/K,
    those of a class together or each by itself. All are multiplied by the view's strength.
    """
    count, rows = len(labels), torch.arange(len(labels))
    shape = (count, config.classes, config.views)
    amplitude = _distractors(config, labels, single, shape, generator)
    own = uniform(config.amplitude, (count, config.views), generator)
    if config.layout == "flat" or min(config.view_probability) < 1:
        own = own * _active(config, count, generator)
    chosen = torch.randint(config.views, (count,), generator=generator)
    alone = torch.full_like(own, config.weak_amplitude)
    alone[rows, chosen] = uniform(config.amplitude, (count,), generator)
    amplitude[rows, labels] = torch.where(single[:, None], alone, own)
    return amplitude * torch.tensor(config.view_strength)


def _distractors(config: Data, labels: Tensor, single: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    together = config.distractor_mode == "class"
    chance = config.distractors / config.classes
    present = torch.rand((shape[0], shape[1], 1 if together else shape[2]), generator=generator) < chance
    plain = uniform(config.distractor_amplitude, shape, generator)
    if config.single_distractor_amplitude is not None:
        faint = uniform(config.single_distractor_amplitude, shape, generator)
        plain = torch.where(single[:, None, None], faint, plain)
    amplitude = plain * present
    amplitude[torch.arange(shape[0]), labels] = 0.0
    return amplitude


def _active(config: Data, count: int, generator: torch.Generator) -> Tensor:
    chance = torch.tensor(config.view_probability)
    active = torch.rand((count, config.views), generator=generator) < chance
    while (empty := ~active.any(dim=1)).any():
        active[empty] = torch.rand((int(empty.sum()), config.views), generator=generator) < chance
    return active
